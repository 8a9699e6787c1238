"""Data sets on the page."""
