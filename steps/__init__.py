"""The programs that the Workflow's step pods run: `python -m steps.<name>`."""
