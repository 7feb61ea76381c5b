"""What answers are worth: metrics, corruptions, figures, the report. Nothing here loads a model."""
