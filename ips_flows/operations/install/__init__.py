"""The objects of an installation, and the functions that apply and delete them."""
