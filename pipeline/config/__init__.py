"""The configuration: its types, and how it is composed, read and written.

Only this package calls Hydra's composition.
"""
