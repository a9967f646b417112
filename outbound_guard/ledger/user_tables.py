"""The schema of the console's users, sessions and tokens. A change here needs a migration, as in `tables`.

Passwords, cookies, API tokens and recovery codes are kept as hashes. The secret of a second factor cannot be: it is
needed to work out the code. It lies in the ledger and the journal, whose files only the service may read (0600); a key
to encrypt it with would lie beside it, on the same disk and with the same owner, and protect nothing.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, PrimaryKeyConstraint, String, Table, Text

from outbound_guard.ledger.schema import metadata

# `state`: active | disabled | removed. A removed user's row stays, so that a late record cannot bring it back.
console_user = Table(
    "console_user",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("password", Text, nullable=False),
    Column("totp", String(64), nullable=False),
    Column("totp_confirmed", Boolean, nullable=False),
    # The number of the last time step whose code was used (RFC 6238 5.2: a code is taken once).
    Column("totp_used", BigInteger, nullable=False),
    Column("created", Double, nullable=False),
    Column("changed", Double, nullable=False),
    Column("seen", Double, nullable=False),
    # The accounts that a user sees, patterns among them, as a JSON list; empty: all.
    Column("accounts", Text, nullable=False, server_default="[]"),
    # Who signs in at an OpenID Connect provider: by these two the user is known, whatever else changes there; empty:
    # by password. Such a user has no password here.
    Column("issuer", String(255), nullable=False, server_default=""),
    Column("subject", String(255), nullable=False, server_default=""),
    # The name as the provider told it last, for people to read.
    Column("shown", String(200), nullable=False, server_default=""),
    Index("console_user_subject", "issuer", "subject"),
)

# Codes for when the second factor is lost: hashes. `used` 0: not yet.
console_recovery = Table(
    "console_recovery",
    metadata,
    Column("user", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("created", Double, nullable=False),
    Column("used", Double, nullable=False),
    PrimaryKeyConstraint("user", "hash"),
)

# `key` is the SHA-256 of the cookie's value: who reads the ledger cannot sign in with it.
console_session = Table(
    "console_session",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("user", String(64), nullable=False),
    Column("created", Double, nullable=False),
    Column("seen", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("client", String(64), nullable=False),
    Column("agent", String(200), nullable=False),
    Index("console_session_user", "user"),
)

# API tokens. `expires` 0: never; `used` 0: never yet; `revoked` 0: not.
console_token = Table(
    "console_token",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("user", String(64), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("used", Double, nullable=False),
    Column("revoked", Double, nullable=False),
    Index("console_token_user", "user"),
)
