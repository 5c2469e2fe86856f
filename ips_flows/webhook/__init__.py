"""Delivery of webhook notifications."""
