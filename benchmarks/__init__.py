"""Measurements beside other tools; `make bench` runs those that write a page."""

import pipeline  # noqa: F401  # sets the environment before Keras is imported
