"""The Kubernetes API. `client` alone imports the kubernetes client."""
