"""Tasks read from Workflows, and schedules read from CronWorkflows."""
