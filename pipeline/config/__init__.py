"""The configuration: compose, check, read and write it. What its keys do is decided elsewhere.

Only this package composes with Hydra.
"""
