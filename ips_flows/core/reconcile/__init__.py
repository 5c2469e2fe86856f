"""Decisions of the keeper about a task, and the objects that it creates."""
