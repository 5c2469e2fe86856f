"""What a user can do with a cluster. CLI, REST and Python API call the same functions."""
