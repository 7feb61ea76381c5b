"""Sweeps: space, study, workers, MLflow runs, results. Training itself is in `pipeline.training`.

A sweep runs its workers on one machine or on several.
"""
