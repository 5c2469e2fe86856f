"""Operations of a user on a cluster. CLI, REST and Python API call the same functions."""
