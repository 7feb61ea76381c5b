"""A sweep: its space, its study, its workers on one machine or many, its results.

It knows no detail of a training.
"""
