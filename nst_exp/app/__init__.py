"""Hydra: the command line, the Python API and sweeps. Only this package imports Hydra."""
