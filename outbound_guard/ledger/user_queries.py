"""Questions to the ledger about the console's users, sessions and tokens. Sync: called in threads.

All raise LedgerError.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import RowMapping, and_, func, or_, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.user_tables import console_recovery, console_session, console_token, console_user

_strings: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])

SESSION_ID = 16
"""Hexadecimal digits of a session's key that name it to people; with these nobody can sign in."""


class Credentials(msgspec.Struct, frozen=True):
    """What is needed to sign a user in. Never shown."""

    name: str
    role: str
    state: str
    password: str
    totp: str
    totp_confirmed: bool
    totp_used: int


class User(msgspec.Struct, frozen=True):
    """A user, as people see it."""

    name: str
    role: str
    """viewer | operator | admin | tenant"""
    state: str
    """active | disabled"""
    second_factor: bool
    recovery_codes: int
    """How many are left."""
    created: float
    changed: float
    seen: float
    """Unix seconds; `seen` is the last time somebody signed in, 0 if nobody ever did."""
    accounts: tuple[str, ...] = ()
    """Of a tenant: the accounts that it sees, patterns among them."""
    issuer: str = ""
    subject: str = ""
    """Of a user who signs in at an OpenID Connect provider: which, and who that is there; empty: by password."""
    shown: str = ""
    """The name as the provider told it last."""


class Session(msgspec.Struct, frozen=True):
    """A session, as people see it."""

    id: str
    user: str
    created: float
    seen: float
    expires: float
    """Unix seconds."""
    client: str
    """The address it was last used from."""
    agent: str


class OpenSession(msgspec.Struct, frozen=True):
    """A session with what its user may do now."""

    key: str
    user: str
    role: str
    seen: float
    csrf: str
    accounts: tuple[str, ...] = ()
    issuer: str = ""
    """The provider at which the user signs in; empty: by password."""
    shown: str = ""


class Token(msgspec.Struct, frozen=True):
    """An API token, as people see it."""

    id: str
    name: str
    user: str
    scopes: tuple[str, ...]
    created: float
    expires: float
    """Unix seconds; 0: it does not end by itself."""
    used: float
    revoked: float
    """Unix seconds; 0: never yet."""

    def state(self, now: float) -> str:
        """active | ended | revoked"""
        return "revoked" if self.revoked else "ended" if 0 < self.expires <= now else "active"


class OpenToken(msgspec.Struct, frozen=True):
    """A token that is good now, with what is needed to check it."""

    id: str
    name: str
    user: str
    role: str
    scopes: tuple[str, ...]
    hash: str
    used: float
    accounts: tuple[str, ...] = ()


def credentials(ledger: Ledger, name: str) -> Credentials | None:
    """What is known to sign a user in, disabled ones included; None if there is none."""
    user = console_user.c
    columns = [user[field] for field in Credentials.__struct_fields__]
    with ledger.connection() as connection:
        row = connection.execute(select(*columns).where(user.name == name, user.state != "removed")).first()
    return Credentials(*row) if row else None


def users(ledger: Ledger, name: str = "") -> list[User]:
    """All users, or the one of that name; by name."""
    user, code = console_user.c, console_recovery.c
    left = (
        select(func.count()).select_from(console_recovery).where(code.user == user.name, code.used == 0)
    ).scalar_subquery()
    query = select(console_user, left.label("recovery_codes")).where(user.state != "removed").order_by(user.name)
    if name:
        query = query.where(user.name == name)
    with ledger.connection() as connection:
        return [_user(row) for row in connection.execute(query).mappings()]


def admins(ledger: Ledger) -> int:
    """How many admins can sign in with a password; those of a provider may be none any more at their next visit."""
    user = console_user.c
    lasting = and_(user.role == "admin", user.state == "active", user.issuer == "")
    with ledger.connection() as connection:
        return int(connection.execute(select(func.count()).select_from(console_user).where(lasting)).scalar_one())


def of_subject(ledger: Ledger, issuer: str, subject: str) -> User | None:
    """The user whom a provider knows as this subject; None if there is none (any more)."""
    user = console_user.c
    query = select(user.name).where(user.issuer == issuer, user.subject == subject, user.state != "removed").limit(1)
    with ledger.connection() as connection:
        name = connection.execute(query).scalar()
    return next(iter(users(ledger, name)), None) if name else None


def identities(ledger: Ledger, *names: str) -> dict[str, tuple[str, str]]:
    """Issuer and subject of the users of these names, both empty for who has a password; removed users too."""
    user = console_user.c
    query = select(user.name, user.issuer, user.subject).where(user.name.in_(names))
    with ledger.connection() as connection:
        return {row.name: (row.issuer, row.subject) for row in connection.execute(query)}


def anybody(ledger: Ledger) -> bool:
    """True if there is a user, be it a disabled one."""
    with ledger.connection() as connection:
        found = select(console_user.c.name).where(console_user.c.state != "removed").limit(1)
        return connection.execute(found).first() is not None


def open_session(ledger: Ledger, key: str, now: float, idle_before: float) -> OpenSession | None:
    """The session of this key, if it has not ended and its user may sign in."""
    session, user = console_session.c, console_user.c
    query = (
        select(session.key, session.user, user.role, session.seen, session.csrf, user.accounts, user.issuer, user.shown)
        .select_from(console_session.join(console_user, user.name == session.user))
        .where(session.key == key, session.expires > now, session.seen > idle_before, user.state == "active")
    )
    with ledger.connection() as connection:
        row = connection.execute(query).first()
    return OpenSession(*row[:5], _strings.decode(row[5]), *row[6:]) if row else None


def sessions(ledger: Ledger, user: str, now: float, idle_before: float) -> list[Session]:
    """The sessions of a user that have not ended; the last used first."""
    session = console_session.c
    which = and_(session.user == user, session.expires > now, session.seen > idle_before)
    with ledger.connection() as connection:
        rows: Any = connection.execute(select(console_session).where(which).order_by(session.seen.desc()))
        return [
            Session(row.key[:SESSION_ID], row.user, row.created, row.seen, row.expires, row.client, row.agent)
            for row in rows
        ]


def open_token(ledger: Ledger, id_: str, now: float, *, issuer: str = "", seen_after: float = -1.0) -> OpenToken | None:
    """The token of this id, if it is good now and its maker may sign in.

    That of a user of a provider: if the provider is `issuer`, and the user signed in after `seen_after`.
    """
    token, user = console_token.c, console_user.c
    query = (
        select(token.id, token.name, token.user, user.role, token.scopes, token.hash, token.used, user.accounts)
        .select_from(console_token.join(console_user, user.name == token.user))
        .where(token.id == id_, token.revoked == 0, user.state == "active")
        .where((token.expires == 0) | (token.expires > now))
        .where(or_(user.issuer == "", and_(user.issuer == issuer, user.seen > seen_after)))
    )
    with ledger.connection() as connection:
        row: Any = connection.execute(query).first()
    if row is None:
        return None
    accounts = _strings.decode(row.accounts)
    return OpenToken(row.id, row.name, row.user, row.role, tuple(row.scopes.split()), row.hash, row.used, accounts)


def tokens(ledger: Ledger, user: str = "", *, id_: str = "", limit: int = 0, offset: int = 0) -> list[Token]:
    """The tokens of a user, or of all, or the one of that id; newest first, revoked ones included. `limit` 0: all."""
    token = console_token.c
    query = select(console_token).where(token.created > 0).order_by(token.created.desc(), token.id)
    if user:
        query = query.where(token.user == user)
    if id_:
        query = query.where(token.id == id_)
    if limit:
        query = query.limit(limit).offset(offset)
    with ledger.connection() as connection:
        return [_token(row) for row in connection.execute(query).mappings()]


def token_named(ledger: Ledger, name: str, now: float) -> bool:
    """True if a token of this name is good now: two of one name could not be told apart in the audit."""
    token = console_token.c
    query = select(token.id).where(token.name == name, token.revoked == 0)
    with ledger.connection() as connection:
        return connection.execute(query.where((token.expires == 0) | (token.expires > now))).first() is not None


def _user(row: RowMapping) -> User:
    return User(
        name=row["name"],
        role=row["role"],
        state=row["state"],
        second_factor=row["totp_confirmed"],
        recovery_codes=row["recovery_codes"],
        created=row["created"],
        changed=row["changed"],
        seen=row["seen"],
        accounts=_strings.decode(row["accounts"]),
        issuer=row["issuer"],
        subject=row["subject"],
        shown=row["shown"],
    )


def _token(row: RowMapping) -> Token:
    fields = {name: row[name] for name in Token.__struct_fields__ if name != "scopes"}
    return Token(scopes=tuple(row["scopes"].split()), **fields)
