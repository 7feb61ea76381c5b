"""Command lines, errors, files, processes, seeds and determinism. Nothing about data or models."""
