"""Metrics, corrupted images, figures and the report of an evaluation. Nothing loads a model."""
