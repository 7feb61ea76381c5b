"""A training script for each tool that `benchmarks.rivals` compares with `make sweep`."""
