"""Results per node and image, stored records, and the verdict."""
