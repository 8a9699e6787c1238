"""Ladder Studio: smoke first, then scale. The packages and their order are in ARCHITECTURE.md."""

__version__ = "0.1.0"
