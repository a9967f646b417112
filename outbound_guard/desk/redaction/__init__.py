"""Texts without personal contact data."""
