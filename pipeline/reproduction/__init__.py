"""Run a recorded training again in a clean folder, and compare the results."""
