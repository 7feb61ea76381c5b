"""Results side by side, from DVC and MLflow: a table and a picture. Nothing here makes results."""
