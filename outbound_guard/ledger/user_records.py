"""What is recorded of the users of the console and of their tokens; part of `records`."""

from __future__ import annotations

import msgspec


class UserChange(msgspec.Struct, frozen=True, omit_defaults=True, tag="user"):
    """A user of the console was added, or changed."""

    time: float
    name: str
    what: str
    """added | role | accounts | password | disabled | enabled | signed_out | removed, or of the second factor:
    factor_started | factor_confirmed | factor_off | codes; or provided: as an OpenID Connect provider says it now"""
    role: str = ""
    """Of added and role: viewer | operator | admin | tenant."""
    accounts: tuple[str, ...] = ()
    """Of added and accounts: the accounts that the user sees, patterns among them; empty: all."""
    password: str = ""
    """Of added and password: the argon2 hash."""
    totp: str = ""
    """Of factor_started: the secret (base32)."""
    recovery: tuple[str, ...] = ()
    """Of factor_confirmed and codes: the hashes of the codes that are good from now on."""
    issuer: str = ""
    subject: str = ""
    """Of provided: who it is, for the provider."""
    shown: str = ""
    """Of provided: the name for people to read."""


class TokenChange(msgspec.Struct, frozen=True, omit_defaults=True, tag="token"):
    """An API token was made or revoked."""

    time: float
    id: str
    what: str
    """made | revoked"""
    name: str = ""
    user: str = ""
    hash: str = ""
    """SHA-256 of the secret, hexadecimal."""
    scopes: tuple[str, ...] = ()
    expires: float = 0.0
    """Unix time; 0: never."""
