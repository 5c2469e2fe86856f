"""Argo Workflows and templates, built with Hera. Nothing else imports hera."""
