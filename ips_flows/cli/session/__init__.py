"""Work of verbs on clusters: targets, submit, follow, exit codes."""
