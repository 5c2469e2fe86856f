"""Argo Workflows and templates, built with Hera: the only place that imports it."""
