"""What a verb does on clusters: targets, submit, follow, exit code."""
