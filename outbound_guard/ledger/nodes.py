"""The hosts that share a ledger: each says that it is there, and one of them leads. Sync; all raise LedgerError.

Who leads does what one host alone may do: forgetting, cases, the watch of own addresses, notices, what is learned from
reports. It is a promise for some seconds that is renewed all the time. The database's clock says when it ends, so that
the hosts' clocks do not matter; whoever holds it trusts it for a little less than that, by its own steady clock.
SQLite has one host, which leads.
"""

from __future__ import annotations

import functools
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from sqlalchemy import ColumnElement, Double, cast, delete, func, literal_column, or_, select, update

from outbound_guard import durable
from outbound_guard.config import Config
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.node_tables import lease, node
from outbound_guard.ledger.schema import upsert
from outbound_guard.ledger.segments import give_to_owner

SECONDS = 10.0
"""How long a promise to lead holds."""
_MARGIN = 2.0
"""Seconds that it is trusted less: what was begun is to be over by then."""
TAKEN = 60.0
"""A name belongs to the host that was last seen under it, for so many seconds."""
FORGOTTEN = 90 * 86400.0
"""Seconds without a word after which a host is forgotten."""
STEADY = functools.partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""A clock that is never set and goes on, where there is one, while the machine sleeps: a promise ends meanwhile."""
_WORK = "work"
_IDENTITY = "node-id"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A host."""

    name: str
    seen: float
    """When it last said that it is there (unix seconds, by the database's clock)."""
    age: float
    """Seconds since then."""
    console: str
    """Where people reach its pages; empty if that is not known."""
    leads: bool


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """This host."""

    name: str
    """`server.node`; else `server.hostname`, else the machine's own name."""
    identity: str = ""
    console: str = ""
    """Where people reach its pages; empty if that is not known."""


def name_of(config: Config) -> str:
    """What this host goes by."""
    return config.server.node or config.server.hostname or socket.getfqdn()


def here(config: Config) -> Here:
    """This host, by its configuration. Raises OSError."""
    name, console = name_of(config), config.console
    host, _, port = console.address.rpartition(":")
    address = ""
    # What listens on its own machine alone is reached through something that we know nothing of.
    if host and host not in ("localhost", "[::1]") and not host.startswith("127."):
        named = (config.server.hostname or name) if host in ("0.0.0.0", "[::]") else host  # noqa: S104 -- compared, not bound.
        address = f"{'https' if console.certificate else 'http'}://{named}:{port}"
    return Here(name=name, identity=identity(config.data_dir), console=address)


def identity(data_dir: Path) -> str:
    """What tells this data directory from every other; made at first. Raises OSError."""
    path = data_dir / _IDENTITY
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = secrets.token_hex(16)
        durable.write(path, (made.encode(),))
        with path.open("rb") as file:
            give_to_owner(file.fileno(), data_dir)
        return made


def enter(ledger: Ledger, here: Here) -> None:
    """Say that this host is there; `ledger` is a writer's. Raises LedgerError if another host goes by this name."""
    with ledger.connection(turn=False) as connection:
        row = {"name": here.name, "identity": here.identity, "console": here.console}
        statement = upsert(connection, node).values(**row, seen=_now(ledger))
        new = statement.excluded
        # SQLite has one host: another identity is its own from before its data directory was restored.
        free = or_(node.c.identity == new.identity, node.c.seen < new.seen - TAKEN) if ledger.shared else None
        statement = statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"identity": new.identity, "seen": new.seen, "console": new.console},
            where=free,
        )
        # Not its rowcount, which is not known of an INSERT in every database.
        if connection.execute(statement.returning(node.c.name)).first() is None:
            raise LedgerError(
                f"another host goes by the name {here.name} in this ledger; give each its own server.node, and its own "
                "data directory"
            )


def nodes(ledger: Ledger) -> list[Node]:
    """All hosts that were there of late, by name."""
    leads = select(lease.c.node).where(lease.c.name == _WORK, lease.c.until > _now(ledger))
    if not ledger.shared:
        # There is one; what else is known are names that it went by before.
        leads = select(node.c.name).order_by(node.c.seen.desc()).limit(1)
    age = _now(ledger) - node.c.seen
    query = select(node.c.name, node.c.seen, node.c.console, age, leads.scalar_subquery()).order_by(node.c.name)
    with ledger.connection() as connection:
        return [
            Node(name=name, seen=seen, console=console, age=max(0.0, age), leads=leader == name)
            for name, seen, console, age, leader in connection.execute(query)
        ]


def forget_absent(ledger: Ledger) -> None:
    """Remove hosts that have not been heard of for long; `ledger` is a writer's."""
    with ledger.connection() as connection:
        connection.execute(delete(node).where(node.c.seen < _now(ledger) - FORGOTTEN))


def one(ledger: Ledger, name: str) -> Node | None:
    """A host; None: never heard of."""
    return next((found for found in nodes(ledger) if found.name == name), None)


class Lead:
    """Whether this host leads. `renew` is called in a thread, every two seconds or so."""

    def __init__(self, ledger: Ledger, name: str, steady: Callable[[], float] = STEADY) -> None:
        """`ledger` is a writer's; `steady` a clock that is never set."""
        self._ledger, self._name, self._steady = ledger, name, steady
        self._until = 0.0

    @property
    def leads(self) -> bool:
        """True if this host may do now what one alone may do."""
        return not self._ledger.shared or self._steady() < self._until

    def renew(self) -> bool:
        """Lead, or go on leading, if nobody else does. Raises LedgerError; what was promised holds till its end."""
        if not self._ledger.shared:
            return True
        asked = self._steady()
        with self._ledger.connection(turn=False) as connection:
            until = _now(self._ledger) + SECONDS
            statement = upsert(connection, lease).values(name=_WORK, node=self._name, until=until)
            statement = statement.on_conflict_do_update(
                index_elements=["name"],
                set_={"node": statement.excluded.node, "until": statement.excluded.until},
                where=or_(lease.c.node == self._name, lease.c.until < _now(self._ledger)),
            )
            mine = connection.execute(statement.returning(lease.c.node)).first() is not None
        self._until = asked + SECONDS - _MARGIN if mine else 0.0
        return mine

    def give_up(self) -> None:
        """Let another host lead at once. Raises LedgerError."""
        if self._until:
            self._until = 0.0
            with self._ledger.connection(turn=False) as connection:
                connection.execute(update(lease).where(lease.c.node == self._name).values(until=0.0))


def _now(ledger: Ledger) -> ColumnElement[float]:
    """The database's clock, unix seconds."""
    if ledger.shared:
        return cast(func.extract("epoch", func.clock_timestamp()), Double)
    return literal_column("(julianday('now') - 2440587.5) * 86400.0", Double)
