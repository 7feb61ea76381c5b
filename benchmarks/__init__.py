"""Measurements of this project and of other tools; see `make bench` and `make bench-tuners`."""

import pipeline  # noqa: F401  # sets the environment before Keras is imported
