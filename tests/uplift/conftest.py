"""Puts this folder on the path, so that the rooms below it find `simulated_logs` and `trials`."""
