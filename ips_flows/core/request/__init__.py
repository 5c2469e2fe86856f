"""The request: its fields, their limits, and how a text becomes one."""
