"""Data sets: read, recognised, checked, kept in versions and registered for LLaMA-Factory."""
