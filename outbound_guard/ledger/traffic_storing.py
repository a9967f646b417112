"""Decisions are counted by hour, account and action as they come in; each of them once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, case

from outbound_guard.ledger.prepared import Prepared
from outbound_guard.ledger.records import Decision
from outbound_guard.ledger.traffic_tables import traffic

HOUR = 3600.0
EVERYBODY = ""
"""The `account` of the rows that stand for the whole installation."""
MOST_AT_FIRST = 200_000
"""So many of the newest decisions are counted when the roll-up is made: that takes seconds. Of what was before it knows
nothing."""
_KNOWN = {
    "sqlite": "SELECT id FROM decision WHERE id IN (SELECT value FROM json_each(?))",
    "postgresql": "SELECT id FROM decision WHERE id = ANY(%s)",
}
"""Which of many ids are there: both can be given them as one value, where SQLAlchemy would spell each of them."""
_json = msgspec.json.Encoder().encode

Key = tuple[int, str, str]


def unknown_yet(connection: Connection, records: Iterable[Decision]) -> list[Decision]:
    """Those of the decisions that are not in the ledger; of several with one id the first. Asked before they go in."""
    new: dict[str, Decision] = {}
    for record in records:
        new.setdefault(record.id, record)
    name, ids = connection.dialect.name, list(new)
    asked = ids if name == "postgresql" else _json(ids).decode()
    for (known,) in connection.exec_driver_sql(_KNOWN[name], (asked,)):
        del new[known]
    return list(new.values())


def count_decisions(connection: Connection, records: Iterable[Decision]) -> None:
    """Add decisions to the roll-up. The caller has made sure that they were not counted before."""
    put(connection, rolled_up((r.received, r.account, r.action, len(reached(r.recipients)), r.score) for r in records))


def reached(recipients: Iterable[str]) -> set[str]:
    """The recipients as they are counted and searched for: in lower case, each once."""
    return {address.lower() for address in recipients}


def rolled_up(decisions: Iterable[tuple[float, str, str, int, float]]) -> dict[Key, tuple[int, int, float]]:
    """Messages, recipients and highest score by (hour, account, action), and the same for everybody.

    Each decision is its time (unix seconds), account, action, number of recipients and score.
    """
    sums: dict[Key, tuple[int, int, float]] = {}
    for received, account, action, recipients, score in decisions:
        key = (int(received // HOUR), account, action)
        known = sums.get(key)
        if known is None:
            sums[key] = (1, recipients, score)
        else:
            messages, total, top = known
            sums[key] = (messages + 1, total + recipients, score if score > top else top)
    for (hour, account, action), (messages, recipients, score) in list(sums.items()):
        if account != EVERYBODY:
            all_, total, top = sums.get((hour, EVERYBODY, action), (0, 0, score))
            sums[hour, EVERYBODY, action] = (all_ + messages, total + recipients, max(top, score))
    return sums


def put(connection: Connection, sums: dict[Key, tuple[int, int, float]]) -> None:
    """Add sums to those that are there."""
    _TRAFFIC.run(connection, [(*key, *counted) for key, counted in sums.items()])


def _added(statement: Any) -> Any:
    new, known = statement.excluded, traffic.c
    return statement.on_conflict_do_update(
        index_elements=["hour", "account", "action"],
        set_={
            "messages": known.messages + new.messages,
            "recipients": known.recipients + new.recipients,
            "top": case((new.top > known.top, new.top), else_=known.top),
        },
    )


_TRAFFIC = Prepared(traffic, conflict=_added)
