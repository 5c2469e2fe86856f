"""Find images in Kubernetes objects, and the nodes on which their pods may run."""
