"""Verdicts of studies, in words."""
