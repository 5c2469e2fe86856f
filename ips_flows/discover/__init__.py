"""Which images Kubernetes objects name, and on which nodes their pods may land: objects in, requests out."""
