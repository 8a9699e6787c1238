"""Servers on the page."""
