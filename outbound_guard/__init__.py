"""Outbound Guard: an outbound SMTP anti-spam filtering proxy."""

__version__ = "0.1.0"
