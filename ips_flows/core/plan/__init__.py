"""The plan of a task: eligible nodes, waves, and the window of nodes that may pull."""
