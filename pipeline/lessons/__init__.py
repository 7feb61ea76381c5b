"""The lessons of docs/learn/: sweeps whose results are written into pages."""
