"""Questions to the ledger about cases. Sync: called in threads or on the command line. All raise LedgerError."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, func, or_, select

from outbound_guard.ledger import case_storing, storing
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.records import Audit, CaseEvent, CaseSubject
from outbound_guard.ledger.tables import (
    case_check,
    case_event,
    case_file,
    case_progress,
    case_subject,
    delivery,
)

_strings: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])
_object: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the checklist that somebody or the machine has said something about."""

    item: str
    state: str
    """done | not needed; empty: open."""
    time: float
    by: str
    evidence: str
    data: dict[str, Any]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A case as it stands. Times are unix seconds, 0 if it has not come to that."""

    id: str
    state: str
    """open | closed"""
    stage: str
    kind: str
    """listing | refusals: what opened it."""
    title: str
    operator: str
    pool: str
    owner: str
    finding: str
    """caused | false; empty: not found out yet."""
    cause: str
    """One of desk.cases.stages.CAUSES."""
    accounts: tuple[str, ...]
    """Those it came from, as far as a person has said."""
    began: float
    """The first sign of it."""
    opened: float
    round_since: float
    """When it was opened, or opened again."""
    stage_since: float
    contained: float
    removed: float
    """When no list and no receiver had it any more."""
    closed: float
    reopened: int
    due: float
    due_for: str
    reminded: float
    """The `due` for which a reminder was written."""
    summary: str
    changed: float
    subjects: tuple[CaseSubject, ...] = ()
    checks: dict[str, Check] = {}

    @property
    def listed(self) -> tuple[CaseSubject, ...]:
        """The subjects that are still listed, or refused."""
        return tuple(subject for subject in self.subjects if subject.state == "listed")

    def not_before(self, now: float) -> float:
        """The time of an event that follows from what is known: a clock set back must not put it before that."""
        return max(now, self.changed)

    def done(self, item: str) -> bool:
        """True if an item is done, or was found not to be needed."""
        return item in self.checks and bool(self.checks[item].state)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a case's history."""

    id: str
    time: float
    by: str
    what: str
    text: str
    data: dict[str, Any]


def cases(ledger: Ledger, *, state: str = "", closed_since: float = 0.0, limit: int = 0) -> list[Case]:
    """Cases by the time they were opened, newest first.

    `state`: only those; `closed_since`: closed cases only if they were closed then or later.
    """
    where: list[ColumnElement[bool]] = []
    if state:
        where.append(case_file.c.state == state)
    if closed_since:
        where.append(or_(case_file.c.state == "open", case_file.c.closed >= closed_since))
    query = select(case_file).where(*where).order_by(case_file.c.opened.desc(), case_file.c.id.desc())
    with ledger.connection() as connection:
        return whole(connection, connection.execute(query.limit(limit) if limit else query).mappings().all())


def case_one(ledger: Ledger, id_: str) -> Case | None:
    """One case."""
    with ledger.connection() as connection:
        rows = connection.execute(select(case_file).where(case_file.c.id == id_)).mappings().all()
        return next(iter(whole(connection, rows)), None)


def events(ledger: Ledger, id_: str) -> list[Event]:
    """The history of a case, oldest first."""
    query = select(case_event).where(case_event.c.case_id == id_).order_by(case_event.c.time, case_event.c.serial)
    with ledger.connection() as connection:
        return [
            Event(
                id=row["id"],
                time=row["time"],
                by=row["by"],
                what=row["what"],
                text=row["text"],
                data=_object.decode(row["data"]),
            )
            for row in connection.execute(query).mappings()
        ]


def progress(ledger: Ledger, name: str) -> int | None:
    """The serial up to which something was followed; None if it never was."""
    with ledger.connection() as connection:
        return connection.execute(select(case_progress.c.serial).where(case_progress.c.name == name)).scalar()


def write(ledger: Ledger, records: Sequence[CaseEvent | Audit], followed: dict[str, int] | None = None) -> None:
    """For the ledger's one writer: the records, and how far they go, together or not at all."""
    with ledger.connection() as connection:
        storing.store(connection, records)
        for name, serial in (followed or {}).items():
            case_storing.set_progress(connection, name, serial)


def stages(ledger: Ledger, now: float) -> dict[str, tuple[int, int]]:
    """Open cases by stage: how many, and how many of them are overdue."""
    query = select(case_file.c.stage, case_file.c.due).where(case_file.c.state == "open")
    found: dict[str, tuple[int, int]] = {}
    with ledger.connection() as connection:
        for stage, due in connection.execute(query):
            number, late = found.get(stage, (0, 0))
            found[stage] = number + 1, late + (0 < due < now)
    return found


def opened_counts(ledger: Ledger) -> tuple[int, int]:
    """How many cases were ever opened, and how often one was opened again."""
    with ledger.connection() as connection:
        opened, again = connection.execute(select(func.count(), func.coalesce(func.sum(case_file.c.reopened), 0))).one()
    return opened, again


def whole(connection: Connection, rows: Iterable[RowMapping]) -> list[Case]:
    """Cases with their subjects and checklists, from rows of `case_file`."""
    files = {row["id"]: row for row in rows}
    subjects: dict[str, list[CaseSubject]] = {id_: [] for id_ in files}
    checks: dict[str, dict[str, Check]] = {id_: {} for id_ in files}
    names = list(files)
    for part in portions(names):
        query = select(case_subject).where(case_subject.c.case_id.in_(part))
        for row in connection.execute(query.order_by(case_subject.c.subject, case_subject.c.source)).mappings():
            subjects[row["case_id"]].append(CaseSubject(**{name: row[name] for name in CaseSubject.__struct_fields__}))
        for row in connection.execute(select(case_check).where(case_check.c.case_id.in_(part))).mappings():
            checks[row["case_id"]][row["item"]] = Check(
                item=row["item"],
                state=row["state"],
                time=row["time"],
                by=row["by"],
                evidence=row["evidence"],
                data=_object.decode(row["data"]),
            )
    return [
        Case(
            **{name: row[name] for name in Case.__struct_fields__ if name not in ("accounts", "subjects", "checks")},
            accounts=_strings.decode(row["accounts"]),
            subjects=tuple(subjects[id_]),
            checks=checks[id_],
        )
        for id_, row in files.items()
    ]


def refusals_since(ledger: Ledger, serial: int, limit: int = 5000) -> tuple[list[dict[str, Any]], int]:
    """Answers 4xx and 5xx of next hops after `serial`, oldest first, and the serial up to which these are all."""
    with ledger.connection() as connection:
        query = select(delivery).where(delivery.c.serial > serial, delivery.c.code >= 400, delivery.c.peer != "")
        rows = [dict(row) for row in connection.execute(query.order_by(delivery.c.serial).limit(limit)).mappings()]
        if len(rows) == limit:
            return rows, rows[-1]["serial"]
        last = connection.execute(select(func.max(delivery.c.serial))).scalar()
    return rows, max(serial, last or 0)


def newest_delivery(ledger: Ledger) -> int:
    """The highest serial of an answer; 0 if there is none."""
    with ledger.connection() as connection:
        return connection.execute(select(func.max(delivery.c.serial))).scalar() or 0


def delivery_serial(ledger: Ledger, since: float, most: int = 200_000) -> int:
    """The serial behind which all answers since then (unix seconds) are found, among the newest `most`."""
    with ledger.connection() as connection:
        newest = connection.execute(select(func.max(delivery.c.serial))).scalar() or 0
        lowest = max(0, newest - most)
        query = select(func.max(delivery.c.serial)).where(delivery.c.serial > lowest, delivery.c.time < since)
        return connection.execute(query).scalar() or lowest
