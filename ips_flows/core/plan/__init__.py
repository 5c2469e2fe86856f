"""Which nodes a task warms, in which waves, and which of them may start now."""
