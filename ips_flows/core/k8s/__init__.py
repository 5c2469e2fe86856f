"""Formats of Kubernetes: names, selectors, quantities, and objects as JSON."""
