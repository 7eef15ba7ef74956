"""The folder of a run as a data format: one writer, one reader."""
