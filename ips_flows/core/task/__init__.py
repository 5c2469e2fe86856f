"""A Workflow read as a task, a CronWorkflow read as a schedule."""
