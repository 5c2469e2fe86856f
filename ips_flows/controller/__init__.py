"""Control loops: the keeper and the node labeller."""
