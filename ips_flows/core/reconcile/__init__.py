"""What the keeper does about a task."""
