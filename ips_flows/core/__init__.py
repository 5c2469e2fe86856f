"""Decisions and formats as functions of values: no socket, no subprocess, no printing."""
