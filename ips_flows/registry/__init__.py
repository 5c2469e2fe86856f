"""Requests to image registries."""
