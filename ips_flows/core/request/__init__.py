"""The request: its fields, their limits, and the parsing of texts."""
