"""Trainings on the page."""
