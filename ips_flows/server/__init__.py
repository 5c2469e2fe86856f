"""`ips-flow serve`: the keeper, and the HTTP routes that tell how it is."""
