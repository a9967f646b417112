"""Decisions are counted by hour, account and action as they come in; each of them once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, case, select

from outbound_guard.ledger.records import Decision
from outbound_guard.ledger.schema import upsert
from outbound_guard.ledger.tables import decision
from outbound_guard.ledger.traffic_tables import traffic

HOUR = 3600.0
EVERYBODY = ""
"""The `account` of the rows that stand for the whole installation."""
MOST_AT_FIRST = 200_000
"""So many of the newest decisions are counted when the roll-up is made: that takes seconds. Of what was before it knows
nothing."""
_AT_ONCE = 500
"""Ids asked about in one statement."""

Key = tuple[int, str, str]


def unknown_yet(connection: Connection, records: Iterable[Decision]) -> list[Decision]:
    """Those of the decisions that are not in the ledger; of several with one id the first. Asked before they go in."""
    new: dict[str, Decision] = {}
    for record in records:
        new.setdefault(record.id, record)
    ids = list(new)
    for start in range(0, len(ids), _AT_ONCE):
        query = select(decision.c.id).where(decision.c.id.in_(ids[start : start + _AT_ONCE]))
        for known in connection.execute(query).scalars():
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
        for name in {account, EVERYBODY}:
            key = (int(received // HOUR), name, action)
            messages, total, top = sums.get(key, (0, 0, score))
            sums[key] = (messages + 1, total + recipients, max(top, score))
    return sums


def put(connection: Connection, sums: dict[Key, tuple[int, int, float]]) -> None:
    """Add sums to those that are there."""
    if not sums:
        return
    statement = upsert(connection, traffic)
    new, known = statement.excluded, traffic.c
    statement = statement.on_conflict_do_update(
        index_elements=["hour", "account", "action"],
        set_={
            "messages": known.messages + new.messages,
            "recipients": known.recipients + new.recipients,
            "top": case((new.top > known.top, new.top), else_=known.top),
        },
    )
    connection.execute(statement, list(_rows(sums)))


def _rows(sums: dict[Key, tuple[int, int, float]]) -> Iterator[dict[str, Any]]:
    for (hour, account, action), (messages, recipients, top) in sums.items():
        yield {
            "hour": hour,
            "account": account,
            "action": action,
            "messages": messages,
            "recipients": recipients,
            "top": top,
        }
