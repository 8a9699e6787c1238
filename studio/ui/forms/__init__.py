"""The launch form that is made from an engine's settings."""
