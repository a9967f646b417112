"""Users, sessions and tokens of the console in SQL.

Changes of users and tokens come through the journal (`user_changes`, `token_changes`). What is about being signed in is
written by the console process itself, which is the ledger's writer: sessions, codes that were used, when somebody was
last seen. Sync: called in threads; all of the second kind raise LedgerError.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.records import TokenChange, UserChange
from outbound_guard.ledger.schema import upsert
from outbound_guard.ledger.user_tables import console_recovery, console_session, console_token, console_user

_ENDING = ("password", "role", "accounts", "disabled", "removed", "signed_out")
"""Changes after which everybody has to sign in anew: what a session may do was decided by what is no longer so."""


def user_changes(connection: Connection, records: list[UserChange]) -> None:
    """Apply changes in the order of their times. Raises what the database raises; the caller rolls back.

    A change that would leave no admin is left out: two people may take each other's role away at the same moment, and
    only here one comes after the other.
    """
    for record in sorted(records, key=lambda record: record.time):
        if record.what == "added":
            _add(connection, record)
        elif record.what == "provided":
            _provided(connection, record)
        elif _change(connection, record):
            if record.what in _ENDING:
                connection.execute(delete(console_session).where(console_session.c.user == record.name))
            if record.what == "removed":
                open_ = and_(console_token.c.user == record.name, console_token.c.revoked == 0)
                connection.execute(update(console_token).where(open_).values(revoked=record.time))
            if record.what in ("factor_confirmed", "codes", "factor_off", "removed"):
                _recovery(connection, record)


def token_changes(connection: Connection, records: list[TokenChange]) -> None:
    """Put tokens in, and revoke them; in any order. Raises what the database raises; the caller rolls back."""
    empty = {"name": "", "hash": "", "user": "", "scopes": "", "created": 0.0, "expires": 0.0, "used": 0.0}
    for record in records:
        statement = upsert(connection, console_token)
        if record.what == "made":
            row = {
                "id": record.id,
                "name": record.name,
                "hash": record.hash,
                "user": record.user,
                "scopes": " ".join(record.scopes),
                "created": record.time,
                "expires": record.expires,
            }
            changed = {name: statement.excluded[name] for name in row if name != "id"}
            statement = statement.values(**row, used=0.0, revoked=0.0)
            where = console_token.c.created == 0
        else:
            changed = {"revoked": statement.excluded.revoked}
            statement = statement.values(id=record.id, **empty, revoked=record.time)
            where = console_token.c.revoked == 0
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed, where=where))


def begin_session(
    ledger: Ledger, row: dict[str, Any], verified: str, identity: tuple[str, str] = ("", ""), keep: int = 20
) -> bool:
    """Put a session in, if its user is active and has still the password hash that was `verified`.

    Otherwise False: the password was changed, or the user disabled, while somebody was signing in with the old one. Of
    one user the newest `keep` sessions stay. `identity`: of a user without a password, issuer and subject.
    """
    user, session = console_user.c, console_session.c
    with ledger.connection() as connection:
        whose = and_(user.name == row["user"], user.issuer == identity[0], user.subject == identity[1])
        query = select(user.password).where(whose, user.state == "active").with_for_update()
        if connection.execute(query).scalar() != verified:
            return False
        connection.execute(insert(console_session).values(**row))
        connection.execute(update(console_user).where(user.name == row["user"]).values(seen=row["created"]))
        newest = select(session.key).where(session.user == row["user"]).order_by(session.created.desc()).limit(keep)
        connection.execute(
            delete(console_session).where(session.user == row["user"], session.key.not_in(newest.scalar_subquery()))
        )
    return True


def session_seen(ledger: Ledger, key: str, now: float, client: str) -> None:
    """Note that a session is in use, and from which address."""
    with ledger.connection() as connection:
        which = console_session.c.key == key
        connection.execute(update(console_session).where(which).values(seen=now, client=client))


def end_sessions(ledger: Ledger, user: str, *, id_: str = "", besides: str = "") -> int:
    """End the sessions of a user, or the one whose key begins with `id_`; `besides` (likewise) stays. How many."""
    session = console_session.c
    which: list[ColumnElement[bool]] = [session.user == user]
    if id_:
        which.append(func.substr(session.key, 1, len(id_)) == id_)
    if besides:
        which.append(func.substr(session.key, 1, len(besides)) != besides)
    with ledger.connection() as connection:
        return connection.execute(delete(console_session).where(*which)).rowcount


def forget_sessions(ledger: Ledger, now: float, idle_before: float) -> int:
    """Delete the sessions that have ended by themselves; how many."""
    session = console_session.c
    with ledger.connection() as connection:
        over = or_(session.expires <= now, session.seen <= idle_before)
        return connection.execute(delete(console_session).where(over)).rowcount


def use_code(ledger: Ledger, name: str, step: int) -> bool:
    """Take the code of a time step: False if it, or a later one, was taken before."""
    user = console_user.c
    with ledger.connection() as connection:
        which = and_(user.name == name, user.totp_used < step)
        return connection.execute(update(console_user).where(which).values(totp_used=step)).rowcount == 1


def use_recovery(ledger: Ledger, name: str, hash_: str, now: float) -> bool:
    """Take a recovery code: False if there is none such, or if it was taken before."""
    code = console_recovery.c
    with ledger.connection() as connection:
        which = and_(code.user == name, code.hash == hash_, code.used == 0)
        return connection.execute(update(console_recovery).where(which).values(used=now)).rowcount == 1


def rehashed(ledger: Ledger, name: str, old: str, new: str) -> None:
    """Put a new hash of the same password in the place of the old one."""
    user = console_user.c
    with ledger.connection() as connection:
        connection.execute(update(console_user).where(user.name == name, user.password == old).values(password=new))


def token_used(ledger: Ledger, id_: str, now: float) -> None:
    """Note that a token is in use."""
    with ledger.connection() as connection:
        connection.execute(update(console_token).where(console_token.c.id == id_).values(used=now))


def _add(connection: Connection, record: UserChange) -> None:
    statement = upsert(connection, console_user).values(
        name=record.name,
        role=record.role,
        state="active",
        password=record.password,
        totp="",
        totp_confirmed=False,
        totp_used=0,
        created=record.time,
        changed=record.time,
        seen=0.0,
        accounts=_list(record.accounts),
        issuer="",
        subject="",
        shown="",
    )
    changed = {column.name: statement.excluded[column.name] for column in console_user.columns if column.name != "name"}
    free = and_(console_user.c.state == "removed", console_user.c.changed < record.time)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed, where=free))


def _provided(connection: Connection, record: UserChange) -> None:
    """Put a user of an OpenID Connect provider in, or give it what the provider says of it now.

    Whoever has the name already keeps it: then nothing happens, and who asked takes another one. What comes late, from
    another host's journal, does not bring back what has changed since.
    """
    user = console_user.c
    given = {"role": record.role, "accounts": _list(record.accounts)}
    new: dict[str, Any] = {**given, "shown": record.shown}
    same = and_(user.issuer == record.issuer, user.subject == record.subject)
    asked = select(user.name, user.role, user.accounts, user.changed).where(same, user.state != "removed")
    there = connection.execute(asked).first()
    if there is not None:
        if record.time < there.changed:
            return
        if {"role": there.role, "accounts": there.accounts} != given:
            new["changed"] = record.time
            connection.execute(delete(console_session).where(console_session.c.user == there.name))
        connection.execute(update(console_user).where(user.name == there.name).values(**new))
        return
    statement = upsert(connection, console_user).values(
        name=record.name,
        state="active",
        password="",
        totp="",
        totp_confirmed=False,
        totp_used=0,
        created=record.time,
        changed=record.time,
        seen=0.0,
        issuer=record.issuer,
        subject=record.subject,
        **new,
    )
    changed = {column.name: statement.excluded[column.name] for column in console_user.columns if column.name != "name"}
    free = and_(same, user.state == "removed", user.changed < record.time)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed, where=free))


def _change(connection: Connection, record: UserChange) -> bool:
    user = console_user.c
    which: list[ColumnElement[bool]] = [user.name == record.name, user.state != "removed"]
    if record.what in ("role", "accounts", "password", "factor_started"):
        # Of a user of a provider these are the provider's business.
        which.append(user.issuer == "")
    values: dict[str, Any] = {}
    match record.what:
        case "role":
            values = {"role": record.role, "accounts": _list(record.accounts)}
        case "accounts":
            which.append(user.role == "tenant")
            values = {"accounts": _list(record.accounts)}
        case "password":
            values = {"password": record.password}
        case "disabled":
            values = {"state": "disabled"}
        case "enabled":
            values = {"state": "active"}
        case "removed":
            values = {"state": "removed", "password": "", "totp": "", "totp_confirmed": False}
        case "factor_started":
            which.append(user.totp_confirmed.is_(False))
            values = {"totp": record.totp, "totp_used": 0}
        case "factor_confirmed":
            which.append(user.totp != "")
            values = {"totp_confirmed": True}
        case "factor_off":
            values = {"totp": "", "totp_confirmed": False}
    if record.what in ("disabled", "removed") or (record.what == "role" and record.role != "admin"):
        other = console_user.alias()
        lasting = and_(other.c.role == "admin", other.c.state == "active", other.c.issuer == "")
        admins = select(func.count()).where(lasting).scalar_subquery()
        which.append(or_(user.role != "admin", user.state != "active", user.issuer != "", admins > 1))
    statement = update(console_user).where(*which).values(**values, changed=record.time)
    return connection.execute(statement).rowcount == 1


def _list(accounts: tuple[str, ...]) -> str:
    return msgspec.json.encode(accounts).decode()


def _recovery(connection: Connection, record: UserChange) -> None:
    code = console_recovery.c
    connection.execute(delete(console_recovery).where(code.user == record.name, code.hash.not_in(record.recovery)))
    if record.recovery:
        rows = [{"user": record.name, "hash": h, "created": record.time, "used": 0.0} for h in record.recovery]
        connection.execute(upsert(connection, console_recovery).on_conflict_do_nothing(), rows)
