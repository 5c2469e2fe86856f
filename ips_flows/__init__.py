"""IPS Flow warms container images on Kubernetes nodes with Argo Workflows, and proves it per node and image."""

__version__ = "0.1.0"
