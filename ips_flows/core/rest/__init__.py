"""The REST API without HTTP: responses, pages, schemas, and the store of listed tasks."""
