"""One training: loop, optimizer, callbacks, checkpoints. Networks are in `pipeline.models`.

`run_completion` is here and not in `pipeline.tracking`, because it reads checkpoints.
"""
