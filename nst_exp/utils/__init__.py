"""Errors, files, paths and signals: what every other package builds on."""
