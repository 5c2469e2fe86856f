"""A record of the product's contracts: generated files that a unit test compares with the code.

Contracts are names and formats that other programs rely on: flags, exit codes, labels, stored formats, payloads,
metrics, routes, rights. The files name no module, class or file of the product, so that moving code does not change
them.
"""
