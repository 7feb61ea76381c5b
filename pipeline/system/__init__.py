"""The process and its files: command lines, errors, atomic writes, determinism.

Nothing about machine learning.
"""
