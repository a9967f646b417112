"""The egress pools as they are now: whose mail goes by them, and what their addresses may send."""

from __future__ import annotations

import asyncio

import msgspec

from outbound_guard.blocklist.own import greetings_of, subject_of
from outbound_guard.blocklist.rule import IN_USE, KEPT, RESTING
from outbound_guard.config import Config, Pool
from outbound_guard.delivery.choosing import Choice
from outbound_guard.delivery.warming import budgets_of, day_of, sent_of
from outbound_guard.ledger import listing_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.state import State, StateError


class AddressNow(msgspec.Struct, frozen=True, kw_only=True):
    """A source address of a pool."""

    address: str
    helo: str
    """What it says in EHLO; empty: the name of the server."""
    weight: float
    share: float
    """Of the pool's messages, as far as weights go."""
    state: str
    """in_use | resting | kept (it should rest, and the pool has no other) | spent (for today) | waiting (for its first
    day)"""
    reason: str
    """Why it rests or should."""
    day: int
    """Of its warm-up; 0: it is not warming up, or has not begun."""
    most: int
    """Messages of today; -1: no limit."""
    sent: int
    """Messages of today, of one that is warming up; -1: not known, the memory cannot be asked."""


class PoolNow(msgspec.Struct, frozen=True, kw_only=True):
    """An egress pool."""

    name: str
    classes: tuple[str, ...]
    """Classes of sender whose mail goes by it, those that no pool names included."""
    otherwise: dict[str, tuple[str, ...]]
    """By class: the pools that its mail goes by if it cannot go by this one, in their order; none: it waits."""
    smarthosts: tuple[str, ...]
    addresses: tuple[AddressNow, ...]
    usable: int
    """Addresses that may be used now; -1: it names none, and the system chooses."""


async def pools_now(ledger: Ledger, config: Config, state: State, now: float) -> list[PoolNow]:
    """Every pool, in the order of the configuration. Raises LedgerError."""
    pools = config.delivery.pool or ((Pool(),) if config.delivery.mode == "direct" else ())
    if not pools:
        return []
    rows = await asyncio.to_thread(listing_queries.own_addresses, ledger)
    decided = {(row["pool"], row["address"]): row for row in rows}
    budgets = {budget.address: budget for budget in budgets_of(config, now)}
    try:
        sent = dict(zip(budgets, await sent_of(state, list(budgets), day_of(now)), strict=True))
    except StateError:
        sent = {}
    special = {subject_of(table.address): table for table in config.delivery.address}
    greetings, choice = greetings_of(config), Choice(pools)

    def address_now(pool: Pool, address: str, all_: float) -> AddressNow:
        row = decided.get((pool.name, address), {"state": IN_USE, "reason": ""})
        state_now, budget = row["state"] or IN_USE, budgets.get(address)
        done = sent.get(address, -1)
        if budget is not None and state_now != RESTING:
            state_now = "waiting" if budget.day < 1 else "spent" if done >= budget.most else state_now
        weight = special[address].weight if address in special else 1.0
        return AddressNow(
            address=address,
            helo=greetings.get(address, ""),
            weight=weight,
            share=weight / all_,
            state=state_now,
            reason=row["reason"] if state_now in (RESTING, KEPT) else "",
            day=max(0, budget.day) if budget else 0,
            most=budget.most if budget else -1,
            sent=done,
        )

    found = []
    for pool in pools:
        names = [subject_of(source) for source in pool.source_addresses]
        all_ = sum(special[name].weight if name in special else 1.0 for name in names)
        addresses = tuple(address_now(pool, name, all_) for name in names)
        found.append(
            PoolNow(
                name=pool.name,
                classes=choice.carried(pool.name),
                otherwise={class_: choice.way(class_)[1:] for class_ in choice.carried(pool.name)},
                smarthosts=pool.smarthosts,
                addresses=addresses,
                usable=sum(one.state in (IN_USE, KEPT) for one in addresses) if addresses else -1,
            )
        )
    return found
