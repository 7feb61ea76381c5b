"""What is no longer used, for `make gc`: find it, measure it, remove it."""
