"""Benchmark of IPS Flow and other ways to warm nodes, on the same simulated nodes in the same run."""
