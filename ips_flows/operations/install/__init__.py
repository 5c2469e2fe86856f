"""The objects of an installation, and how they get into a cluster."""
