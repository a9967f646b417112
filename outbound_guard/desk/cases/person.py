"""Somebody at work on a case: how what people do is read from and written into it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.desk.cases import evidence
from outbound_guard.desk.cases.words import said
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import case_queries
from outbound_guard.ledger.case_queries import Case, Check
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, CaseCheck, CaseEvent, CaseSubject
from outbound_guard.mail import new_id


class Person(msgspec.Struct, frozen=True):
    """Somebody at work on cases, and what for that is needed."""

    ledger: Ledger
    journal: Journal
    clock: Clock
    config: Config
    by: str


def act(
    person: Person,
    case: Case,
    what: str,
    text: str,
    *,
    fields: dict[str, Any] | None = None,
    subjects: tuple[CaseSubject, ...] = (),
    checks: dict[str, CaseCheck] | None = None,
    data: dict[str, Any] | None = None,
    id_: str = "",
) -> CaseEvent:
    """An event of a case and its audit entry, written to the disk. Raises DeskError."""
    now = person.clock.now()
    event = CaseEvent(
        id=id_ or new_id(now),
        case=case.id,
        time=case.not_before(now),
        what=what,
        by=person.by,
        text=text,
        fields=fields or {},
        subjects=subjects,
        checks=checks or {},
        data=data or {},
    )
    write(person, event, f"case.{what}", text)
    return event


def write(person: Person, event: CaseEvent, what: str, detail: str) -> None:
    """Have an event on the disk, with its audit entry. Raises DeskError."""
    line = said(detail).partition("\n")[0][:200]
    on_disk(person.journal, event, Audit(time=event.time, by=person.by, what=what, subject=event.case, detail=line))


async def case_of(person: Person, id_: str) -> Case:
    """A case. Raises DeskError if there is none, LedgerError."""
    case = await asyncio.to_thread(case_queries.case_one, person.ledger, id_)
    if case is None:
        raise DeskError(f"no case {id_}")
    return case


async def open_one(person: Person, id_: str) -> Case:
    """A case that is open. Raises DeskError, LedgerError."""
    case = await case_of(person, id_)
    if case.state != "open":
        raise DeskError(f"{id_} is closed; open it again first")
    return case


async def looked(person: Person, case: Case, *, again: bool = False) -> tuple[Case, CaseEvent | None]:
    """The case with what the machine finds now, and that as an event, which is not written yet."""
    history = await asyncio.to_thread(case_queries.events, person.ledger, case.id)
    sources = evidence.Sources(person.ledger, person.config, person.clock.now(), history)
    event = await asyncio.to_thread(evidence.found, case, sources, again=again)
    if event is None:
        return case, None
    checks = {
        item: Check(item=item, state=c.state, time=event.time, by=event.by, evidence=c.evidence, data=c.data)
        for item, c in event.checks.items()
    }
    return msgspec.structs.replace(case, checks=case.checks | checks), event


def needed_text(text: str, what: str) -> str:
    """A text as it is kept. Raises DeskError if it is empty."""
    text = said(text)
    if not text:
        raise DeskError(f"{what} is needed")
    return text


def text_of(content: bytes) -> str:
    """What a file or letter says, as it is kept."""
    return said(content.decode("utf-8", "replace").replace("\0", ""))
