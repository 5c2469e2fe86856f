"""Webhook notifications: due times, payloads, signatures, and allowed targets."""
