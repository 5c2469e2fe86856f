"""Kubernetes' own formats: names, selectors, and objects as JSON."""
