"""Results per node and image, the records that are stored, and the verdict."""
