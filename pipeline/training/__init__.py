"""One training: the loop, the optimizer, callbacks, exact-resume checkpoints.

Networks are in `pipeline.models`.
"""
