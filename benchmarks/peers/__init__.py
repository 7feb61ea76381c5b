"""A training script for each tool or example that benchmarks compare with this project."""

POINTS = "points.json"  # the points that a script trains, in the folder where it runs
