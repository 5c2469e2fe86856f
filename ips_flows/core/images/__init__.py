"""Image references, manifests, platforms, and credentials for registries."""
