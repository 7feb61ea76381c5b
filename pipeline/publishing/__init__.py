"""A static web site of the runs of a store."""
