"""Manifests as input of the verbs."""
