"""A real Kubernetes cluster with Argo, run as plain processes on this machine.

The package uses the standard library only, so that ``deploy/local/up`` starts on a fresh machine.
"""
