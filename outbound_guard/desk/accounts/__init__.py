"""Accounts and senders: found, looked at, suspended and restored, kept in the directory, taken away, erased."""
