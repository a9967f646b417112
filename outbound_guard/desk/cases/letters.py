"""What was written to whom and what came back: logged with its channel, redacted; the original is kept apart."""

from __future__ import annotations

import asyncio
from typing import Any

from outbound_guard.desk.cases.drafts import KINDS
from outbound_guard.desk.cases.originals import Original, Originals
from outbound_guard.desk.cases.person import Person, act, case_of, text_of
from outbound_guard.desk.cases.stages import FILING, need_ready_to_file
from outbound_guard.desk.cases.words import said
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger.case_queries import Case
from outbound_guard.ledger.records import Audit, CaseEvent
from outbound_guard.mail import new_id

ABOUT = (*KINDS, "question")
LONGEST_CHANNEL = 200
"""Characters that say how somebody was written to or called."""
OUTCOMES = ("removed", "refused", "question", "acknowledged", "other")


async def contact(
    person: Person, id_: str, party: str, *, channel: str, about: str = "", text: bytes = b""
) -> CaseEvent:
    """Write down that somebody was written to or called: `customer:ACCOUNT`, `list:ZONE` or `receiver:NAME`.

    `channel` says how (a form's address, a role address, a telephone call). Raises DeskError, LedgerError.
    """
    case = await case_of(person, id_)
    kind = _party(case, party)
    about = about or ("notice" if kind == "customer" else "appeal")
    if about not in ABOUT:
        raise DeskError(f"no subject {about!r}; there are {', '.join(ABOUT)}")
    if kind != "customer" and about in FILING:
        need_ready_to_file(case)
    return _letter(person, case, "contact", party, channel, {"about": about}, f"{about} to {party}", text)


async def answer(
    person: Person, id_: str, party: str, *, channel: str, outcome: str = "other", text: bytes = b""
) -> CaseEvent:
    """Write down what a customer or operator answered. Raises DeskError, LedgerError."""
    case = await case_of(person, id_)
    _party(case, party)
    if outcome not in OUTCOMES:
        raise DeskError(f"no outcome {outcome!r}; there are {', '.join(OUTCOMES)}")
    said_so = f"from {party}" if outcome == "other" else f"{outcome}, from {party}"
    return _letter(person, case, "answer", party, channel, {"outcome": outcome}, said_so, text)


async def attach(person: Person, id_: str, name: str, content: bytes) -> CaseEvent:
    """Add a file as evidence: its redacted text is shown, the file itself is kept among the originals for a while.

    Raises DeskError, LedgerError.
    """
    case = await case_of(person, id_)
    if not content.strip():
        raise DeskError(f"{said(name)} is empty")
    return _kept(person, case, "attached", f"{said(name)}: {text_of(content)}", {"name": said(name)}, name, content)


async def original(person: Person, id_: str, event: str) -> bytes:
    """The original of a letter, for those who may see it; that it was seen stands in the audit.

    Raises DeskError, LedgerError.
    """
    case = await case_of(person, id_)
    now = person.clock.now()
    content = await asyncio.to_thread(Originals(person.config).read, event, case.id, by=person.by, now=now)
    on_disk(person.journal, Audit(time=now, by=person.by, what="case.original", subject=case.id, detail=event))
    return content


def _party(case: Case, party: str) -> str:
    kind, _, name = party.partition(":")
    if kind not in ("customer", "list", "receiver") or not name:
        raise DeskError(f"{party!r} is nobody; expected customer:ACCOUNT, list:ZONE or receiver:NAME")
    if kind != "customer" and name not in {subject.source for subject in case.subjects}:
        known = ", ".join(sorted({subject.source for subject in case.subjects if subject.source}))
        raise DeskError(f"{case.id} has nothing to do with {name}; with {known}")
    return kind


def _letter(
    person: Person, case: Case, what: str, party: str, channel: str, data: dict[str, Any], words: str, text: bytes
) -> CaseEvent:
    channel = " ".join(said(channel).split())[:LONGEST_CHANNEL]
    if not channel:
        raise DeskError("by which channel? (a form's address, a role address, a telephone call)")
    line = f"{words} by {channel}"
    told = f"{line}: {text_of(text)}" if text else line
    return _kept(person, case, what, told, {"with": party, "channel": channel} | data, "", text)


def _kept(
    person: Person, case: Case, what: str, told: str, data: dict[str, Any], name: str, content: bytes
) -> CaseEvent:
    """An event with an original. The original comes first: without its event it is never shown, and expires."""
    id_, now = new_id(person.clock.now()), person.clock.now()
    if content:
        Originals(person.config).keep(Original(id_, case.id, now, person.by, name), content)
        data = data | {"original": id_}
    return act(person, case, what, told, data=data, id_=id_)
