"""The machine on the page."""
