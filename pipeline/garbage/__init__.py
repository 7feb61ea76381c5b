"""What nothing names any more, for `make gc`: find it, measure it, remove it."""
