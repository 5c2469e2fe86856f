"""Loops that act on their own."""
