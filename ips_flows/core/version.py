"""The version of IPS Flow."""

__version__ = "0.1.0"
