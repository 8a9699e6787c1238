"""Comparisons of answers, and the room of blind votes."""
