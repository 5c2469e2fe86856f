"""Delivers webhook messages."""
