"""The same launch as text for people who deploy otherwise: docker, compose, nginx."""
