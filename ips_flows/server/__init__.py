"""`ips-flow serve`: HTTP."""
