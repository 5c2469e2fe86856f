"""The Kubernetes API. Only `client` imports the kubernetes client."""
