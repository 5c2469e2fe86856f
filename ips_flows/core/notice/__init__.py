"""Webhook messages: when one is due, its payload and signature, and allowed targets."""
