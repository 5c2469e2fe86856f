"""Other ways to warm nodes, as their designs mean them: small drivers, each on Jobs pinned to nodes.

They get an `Order` as JSON on stdin, and end when every node has ended.
"""
