"""A real Kubernetes cluster with Argo as plain processes of this machine.

Everything here uses the standard library only, so that ``deploy/local/up`` starts on a fresh machine.
"""
