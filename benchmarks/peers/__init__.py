"""A training script for each tool that `rivals` and `tuners` compare with `make sweep`."""
