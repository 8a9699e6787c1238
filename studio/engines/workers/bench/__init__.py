"""Load tests point by point: the grid, the server, the folder of results, the figures."""
