"""Other ways to warm nodes: small reference drivers that follow the designs, each with Jobs pinned to nodes.

A driver reads an `Order` as JSON from stdin, and ends when every node has ended.
"""
