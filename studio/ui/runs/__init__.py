"""A run on the page, the same in every tab."""
