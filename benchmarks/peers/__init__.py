"""A training script for each tool that `rivals` and `tuners` compare with `make sweep`."""

POINTS = "points.json"  # the points that a script trains, in the folder where it runs
