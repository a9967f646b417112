"""Notices, as people see them: what was told to whom, trying again, giving up, and trying whether they arrive."""
