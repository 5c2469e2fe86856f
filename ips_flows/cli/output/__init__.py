"""What verbs print: tables, documents, lines, and the live view."""
