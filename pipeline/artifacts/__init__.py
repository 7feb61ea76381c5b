"""A model file: write it, read it safely, find it by a URI."""
