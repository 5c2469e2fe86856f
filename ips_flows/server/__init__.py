"""HTTP server of `ips-flow serve`."""
