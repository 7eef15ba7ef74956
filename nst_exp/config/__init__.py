"""What a run can be asked for: the schema of the config and its checks, in plain Python."""
