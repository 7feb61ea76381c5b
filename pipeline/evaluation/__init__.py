"""What a classifier's answers look like: metrics, tables, pictures.

It needs probabilities, not a model.
"""
