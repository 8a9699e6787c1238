"""Load tests and saved results on the page."""
