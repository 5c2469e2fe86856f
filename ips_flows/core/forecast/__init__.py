"""Forecast of a task: pulls, time and issues."""
