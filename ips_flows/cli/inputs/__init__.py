"""Manifests as input of a verb."""
