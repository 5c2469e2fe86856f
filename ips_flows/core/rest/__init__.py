"""The REST API as values: responses, pages, schemas, and the tasks that lists show."""
