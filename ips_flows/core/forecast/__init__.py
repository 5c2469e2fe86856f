"""Predicts what a task would do and which problems it would meet."""
