"""Relay and delivery processes: source addresses that rest or are warming up, and those that next hops refuse.

The console process says which rest, by the ledger; it hears what is refused, by the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from outbound_guard.app.parts import Parts
from outbound_guard.delivery import Delivery
from outbound_guard.delivery.warming import add_up
from outbound_guard.ledger.database import Ledger, LedgerError, url_of
from outbound_guard.ledger.listing_queries import resting
from outbound_guard.ledger.records import Delivered
from outbound_guard.reply import Reply
from outbound_guard.state import State, StateError
from outbound_guard.supervisor.crew import cores

_log = logging.getLogger(__name__)

_NOTED_SECONDS = 10.0
"""One next hop's refusals of one address are noted at most so often."""
_NOTED = 10_000
"""So many are remembered at a time."""


def keep_resting(parts: Parts, delivery: Delivery) -> None:
    """Look each second, until the stack closes, which addresses rest. A ledger that is away changes nothing."""
    if not any(pool.source_addresses for pool in parts.config.delivery.pool):
        return
    ledger = Ledger(url_of(parts.config.ledger.url, parts.config.data_dir))
    parts.stack.callback(ledger.close)
    known = -1

    async def look() -> None:
        nonlocal known
        try:
            found = await asyncio.to_thread(resting, ledger, known)
        except LedgerError as error:
            _log.debug("which addresses rest cannot be read: %s", error)
            return
        if found is not None:
            known, pools = found
            delivery.rest(pools)

    parts.every(1.0, look)


def senders_of_mail(parts: Parts) -> int:
    """How many processes of this configuration send mail: the relays, and the one that works the queue."""
    return (parts.config.server.relay_processes or cores()) + 1


def keep_warming(parts: Parts, delivery: Delivery, state: State) -> None:
    """Add up each second, until the stack closes, what was sent from addresses that are warming up.

    A store that is away leaves each process its part of what was left of the day.
    """

    async def look() -> None:
        for pool, number in delivery.usable().items():
            parts.metrics.gauge("pool_addresses", number, pool)
        if not delivery.warming.addresses:
            return
        try:
            told = await delivery.warming.sync(parts.clock.now(), partial(add_up, state))
        except StateError as error:
            _log.debug("what was sent from addresses that are warming up cannot be added up: %s", error)
            return
        for address, (budget, total) in told.items():
            parts.metrics.gauge("warm_up_left", max(0, budget.most - total), address)

    parts.every(1.0, look)


def refusal_notes(parts: Parts) -> Callable[[str, str, Reply], None]:
    """To be called with next hop, source address and reply when our address is refused: the ledger will know.

    Mail that then goes out another way has no other record of it. The rows belong to no message.
    """
    noted: dict[tuple[str, str], float] = {}

    def note(peer: str, source: str, reply: Reply) -> None:
        now = parts.clock.now()
        if not 0 <= now - noted.get((peer, source), -_NOTED_SECONDS) < _NOTED_SECONDS:
            if len(noted) >= _NOTED:
                # Of the mail servers of the world many refuse an address that is listed.
                noted.clear()
            noted[peer, source] = now
            text = f"refuses our address {source}: {reply.text}" if source else reply.text
            parts.journal.append(Delivered("", now, "", reply.code, reply.enhanced, text, peer, False, source))

    return note
