"""Output of the verbs: tables, documents, lines, and the live view."""
