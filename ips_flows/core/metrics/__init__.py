"""Metrics as declarative records, and the counter of events."""
