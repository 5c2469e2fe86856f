"""Argo Workflows and templates, built with Hera. No other package imports hera."""
