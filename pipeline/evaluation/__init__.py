"""Metrics, tables and pictures of predicted probabilities. Nothing here loads or runs a model."""
