"""Measurements: how fast, and how reliable."""
