"""A record of the product's contracts: generated files that a unit test compares with what the code says now.

Contracts are names and formats that others rely on: flags, exit codes, labels, stored formats, payloads, metrics,
routes, rights. The files name no module, class or file of the product, so that moving code changes none of them.
"""
