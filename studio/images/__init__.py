"""Editing pictures: ask a worker, keep what comes back, and say who may do what."""
