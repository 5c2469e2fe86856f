"""The command line: one module a verb; only `live` draws."""
