"""Held mail that lies in the spool of another host with the same ledger: where it is, and how that host is asked.

What is asked is a decision about it as about many messages (`bulk`), without a delay: the host that has the file sees
it in the ledger within a second, carries it out, and says there what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.desk.held import bulk
from outbound_guard.desk.held.acts import OPEN, Act
from outbound_guard.ledger import bulk_queries, held_queries, nodes
from outbound_guard.ledger.bulk_queries import Bulk, BulkItem
from outbound_guard.ledger.bulk_storing import PENDING
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.nodes import Node

AWAY = 30.0
"""Seconds without a word after which a host is said to be away."""
_LOOK = 0.2


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """Where a held message lies."""

    node: str
    console: str
    """Where people reach that host's pages; empty if that is not known."""
    away: float
    """Seconds since it was last heard of, if that is long; 0: it is there."""

    @property
    def said(self) -> str:
        """The same in words."""
        away = f", which has not been heard of for {self.away:.0f} s" if self.away else ""
        return f"host {self.node}{f' ({self.console})' if self.console else ''}{away}"


def elsewhere(ledger: Ledger, config: Config, ids: Sequence[str]) -> dict[str, Elsewhere]:
    """Those of the messages that wait on another host, by id, and which it is. Sync. Raises LedgerError."""
    if not ledger.shared:
        return {}
    here = nodes.name_of(config)
    rows = held_queries.by_ids(ledger, ids)
    lying = {id_: row.node for id_, row in rows.items() if row.state in OPEN and row.node not in ("", here)}
    known = {node.name: node for node in nodes.nodes(ledger)} if lying else {}
    return {id_: _elsewhere(name, known.get(name)) for id_, name in lying.items()}


async def ask(
    reader: Ledger,
    journal: Journal,
    clock: Clock,
    ids: Sequence[str],
    act: Act,
    *,
    teach: bool,
    by: str,
    reason: str = "",
) -> Bulk:
    """Ask the hosts that have these messages. Raises DeskError, LedgerError."""
    return await bulk.place(reader, journal, clock, tuple(ids), act, teach=teach, by=by, reason=reason, delay=0.0)


async def answers(reader: Ledger, id_: str, seconds: float) -> list[BulkItem]:
    """What became of the messages of a decision, once that is known of all, or after so long. Raises LedgerError."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        found = await asyncio.to_thread(bulk_queries.items, reader, id_, limit=bulk.MOST_NAMED)
        if (found and all(item.state != PENDING for item in found)) or loop.time() > end:
            return found
        await asyncio.sleep(_LOOK)


def _elsewhere(name: str, node: Node | None) -> Elsewhere:
    away = node.age if node and node.age > AWAY else 0.0
    return Elsewhere(node=name, console=node.console if node else "", away=away)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What another host has still to do of a decision."""

    node: str
    number: int
    away: float


def asked_of_others(ledger: Ledger, config: Config, id_: str) -> list[Asked]:
    """The other hosts that a decision waits for. Sync. Raises LedgerError."""
    if not ledger.shared:
        return []
    here = nodes.name_of(config)
    left = {name: number for name, number in bulk_queries.pending_at(ledger, id_).items() if name not in ("", here)}
    known = {node.name: node for node in nodes.nodes(ledger)} if left else {}
    return [
        Asked(node=name, number=number, away=_elsewhere(name, known.get(name)).away) for name, number in left.items()
    ]
