"""Image references, manifests, platforms, and the credentials for registries."""
