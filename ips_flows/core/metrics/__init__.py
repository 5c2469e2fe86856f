"""Metrics as declarative records, and the counting of events."""
