"""Now: how much mail there is, what waits for a decision, who is at risk, how our addresses and the service are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard.config import Config
from outbound_guard.desk.held.expiring import Expiring, expiring
from outbound_guard.ledger import (
    bulk_queries,
    case_queries,
    listing_queries,
    segments,
    traffic_queries,
    waiting_queries,
)
from outbound_guard.ledger.bulk_queries import Bulk
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.traffic_queries import Risk
from outbound_guard.ledger.traffic_storing import HOUR
from outbound_guard.ledger.waiting_queries import Waiting
from outbound_guard.metrics import values

ACTIONS = ("relay", "defer", "hold", "quarantine", "reject")
HOURS = 24
_DAY = HOURS * HOUR
_RISKS = 15
_CASES = 10
_BACKLOG = 20
"""Segments of the journal that may wait: with so many the ledger lags behind, or cannot be written."""


class Column(msgspec.Struct, frozen=True):
    """The traffic of one hour."""

    time: float
    """When the hour begins (unix seconds)."""
    messages: dict[str, int]
    """By action."""
    before: int
    """All messages of the same hour a day earlier."""


class Traffic(msgspec.Struct, frozen=True):
    """Traffic of the 24 hours that end with the present one, and of the 24 before."""

    columns: tuple[Column, ...]
    day: dict[str, int]
    """Messages by action."""
    day_before: dict[str, int]
    recipients: int
    known_since: float | None
    """From when on this is counted (unix seconds); None: nothing was counted yet."""


class Address(msgspec.Struct, frozen=True):
    """A source address, or a subject of ours that a list has."""

    address: str
    pool: str
    state: str
    """in_use | resting | kept (in use although it should rest); empty: it is no source address."""
    since: float
    reason: str
    lists: tuple[str, ...]
    """That have it."""


class OpenCase(msgspec.Struct, frozen=True):
    """A case that is not closed."""

    id: str
    title: str
    stage: str
    opened: float
    due: float
    overdue: bool


class Cases(msgspec.Struct, frozen=True):
    """The open cases: their numbers, and those that are due first."""

    open: int
    overdue: int
    first: tuple[OpenCase, ...]


class Part(msgspec.Struct, frozen=True):
    """A part that the service stands on."""

    name: str
    good: bool
    text: str


class Now(msgspec.Struct, frozen=True):
    """The first page. Times are unix seconds."""

    time: float
    zone: str
    """Of the server's local time, in which pages show times."""
    mode: str
    """enforce | observe"""
    traffic: Traffic
    waiting: Waiting
    expiring: Expiring
    bulk: tuple[Bulk, ...]
    """Decisions about many held messages that are not carried out yet."""
    risks: tuple[Risk, ...]
    addresses: tuple[Address, ...]
    """The source addresses, and whatever of ours is listed; what is wrong first."""
    address_counts: dict[str, int]
    """Of these: listed, in_use, resting, kept."""
    cases: Cases
    health: tuple[Part, ...]


def now(ledger: Ledger, config: Config, at: float) -> Now:
    """Everything as of `at` (unix seconds). Sync. Raises LedgerError."""
    addresses = _addresses(ledger)
    counts = {state: sum(one.state == state for one in addresses) for state in ("in_use", "resting", "kept")}
    return Now(
        time=at,
        zone=time.strftime("%Z", time.localtime(at)),
        mode=config.policy.mode,
        traffic=traffic(ledger, at),
        waiting=waiting_queries.waiting(ledger),
        expiring=expiring(ledger, config.spool, at),
        bulk=tuple(bulk_queries.live(ledger)),
        risks=tuple(traffic_queries.at_risk(ledger, at - _DAY, at, _RISKS)),
        addresses=tuple(addresses),
        address_counts={"listed": sum(bool(one.lists) for one in addresses)} | counts,
        cases=_cases(ledger, at),
        health=tuple(health(config.data_dir)),
    )


def traffic(ledger: Ledger, at: float) -> Traffic:
    """The traffic of all accounts together. Sync. Raises LedgerError."""
    last = int(at // HOUR)
    first = last - HOURS + 1
    by_hour: dict[int, dict[str, int]] = {}
    recipients = 0
    for row in traffic_queries.by_hour(ledger, (first - HOURS) * HOUR, at):
        by_hour.setdefault(row.hour, {})[row.action] = row.messages
        recipients += row.recipients if row.hour >= first else 0
    columns = [
        Column(hour * HOUR, by_hour.get(hour, {}), sum(by_hour.get(hour - HOURS, {}).values()))
        for hour in range(first, last + 1)
    ]
    return Traffic(
        tuple(columns),
        _summed(by_hour, range(first, last + 1)),
        _summed(by_hour, range(first - HOURS, first)),
        recipients,
        traffic_queries.known_since(ledger),
    )


def health(data_dir: Path) -> list[Part]:
    """How the parts are, by the journal's files and the metrics of all processes. Sync."""
    waiting = len(segments.sealed(data_dir / "journal"))
    parts = [
        Part(
            "ledger",
            waiting < _BACKLOG,
            f"{waiting} segments of the journal wait to be taken in" if waiting >= _BACKLOG else "up to date",
        )
    ]
    try:
        measured = values(data_dir / "run" / "metrics")
    except (OSError, ValueError, KeyError):
        # A process that is starting may be about to make its files.
        measured = {}
    if ("state_up",) in measured:
        up = measured["state_up",] == 1
        parts.append(Part("state", up, "answers" if up else "does not answer: mail is judged without memory"))
    for series, value in sorted(measured.items()):
        if series[0] == "next_hop_up":
            text = "answers" if value == 1 else "no next hop answers: mail is queued"
            parts.append(Part(f"next hop ({series[1]})", value == 1, text))
    queued = int(measured.get(("spool_messages", "queue"), 0) + measured.get(("spool_messages", "incoming"), 0))
    parts.append(Part("queue", True, f"{queued} messages wait to be delivered" if queued else "empty"))
    for name, text in (
        ("journal_lost_total", "{} records were lost while the journal could not be written"),
        ("ledger_rejected_total", "{} records could not be stored; they lie in journal/rejected"),
        ("smtp_faults_total", "{} faults of ours in SMTP sessions; the log has them"),
    ):
        number = int(sum(value for series, value in measured.items() if series[0] == name))
        if number:
            parts.append(Part(name.removesuffix("_total").replace("_", " "), False, text.format(number)))
    return parts


def _summed(by_hour: dict[int, dict[str, int]], hours: range) -> dict[str, int]:
    return {action: sum(by_hour.get(hour, {}).get(action, 0) for hour in hours) for action in ACTIONS}


def _addresses(ledger: Ledger) -> list[Address]:
    lists: dict[str, list[str]] = {}
    for row in listing_queries.listings(ledger, known="listed"):
        lists.setdefault(row["subject"], []).append(row["zone"])
    own = listing_queries.own_addresses(ledger)
    found = [_address(row, lists.pop(row["address"], [])) for row in own]
    found += [Address(subject, "", "", 0.0, "", tuple(zones)) for subject, zones in lists.items()]
    order = {"kept": 0, "resting": 1, "": 2, "in_use": 3}
    return sorted(found, key=lambda one: (order.get(one.state, 2), not one.lists, one.pool, one.address))


def _address(row: dict[str, Any], lists: list[str]) -> Address:
    return Address(row["address"], row["pool"], row["state"], row["since"], row["reason"], tuple(lists))


def _cases(ledger: Ledger, at: float) -> Cases:
    stages = case_queries.stages(ledger, at)
    cases = case_queries.cases(ledger, state="open", limit=200) if stages else []
    first = sorted(cases, key=lambda case: (not case.due, case.due, case.opened))[:_CASES]
    return Cases(
        sum(number for number, _ in stages.values()),
        sum(late for _, late in stages.values()),
        tuple(OpenCase(c.id, c.title, c.stage, c.opened, c.due, 0 < c.due < at) for c in first),
    )
