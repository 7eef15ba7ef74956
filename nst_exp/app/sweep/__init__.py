"""Sweeps: the plan of their jobs, launchers and searches."""
