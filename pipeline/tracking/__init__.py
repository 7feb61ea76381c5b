"""MLflow: the store, runs, inputs, logged models and the registry. Nothing here trains."""
