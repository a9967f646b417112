"""What was written to whom and what came back: logged with its channel, redacted; the original is kept apart."""

from __future__ import annotations

import asyncio
from typing import Any

from outbound_guard.desk.cases.originals import Original, Originals
from outbound_guard.desk.cases.stages import need_ready_to_file
from outbound_guard.desk.cases.words import said
from outbound_guard.desk.cases.worker import Worker, act, case_of, text_of
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger.case_queries import Case
from outbound_guard.ledger.records import Audit, CaseEvent
from outbound_guard.mail import new_id

ABOUT = ("notice", "apology", "update", "advice", "appeal", "escalation", "question")
FILING = ("appeal", "escalation")
OUTCOMES = ("removed", "refused", "question", "acknowledged", "other")


async def contact(
    worker: Worker, id_: str, party: str, *, channel: str, about: str = "", text: bytes = b""
) -> CaseEvent:
    """Write down that somebody was written to or called: `customer:ACCOUNT`, `list:ZONE` or `receiver:NAME`.

    `channel` says how (a form's address, a role address, a telephone call). Raises DeskError, LedgerError.
    """
    case = await case_of(worker, id_)
    kind = _party(case, party)
    about = about or ("notice" if kind == "customer" else "appeal")
    if about not in ABOUT:
        raise DeskError(f"no subject {about!r}; there are {', '.join(ABOUT)}")
    if kind != "customer" and about in FILING:
        need_ready_to_file(case)
    return _letter(worker, case, "contact", party, channel, {"about": about}, about, text)


async def answer(
    worker: Worker, id_: str, party: str, *, channel: str, outcome: str = "other", text: bytes = b""
) -> CaseEvent:
    """Write down what a customer or operator answered. Raises DeskError, LedgerError."""
    case = await case_of(worker, id_)
    _party(case, party)
    if outcome not in OUTCOMES:
        raise DeskError(f"no outcome {outcome!r}; there are {', '.join(OUTCOMES)}")
    return _letter(worker, case, "answer", party, channel, {"outcome": outcome}, outcome, text)


async def attach(worker: Worker, id_: str, name: str, content: bytes) -> CaseEvent:
    """Add a file as evidence: its redacted text is shown, the file itself is kept among the originals for a while.

    Raises DeskError, LedgerError.
    """
    case = await case_of(worker, id_)
    return _kept(worker, case, "attached", f"{said(name)}: {text_of(content)}", {"name": said(name)}, name, content)


async def original(worker: Worker, id_: str, event: str) -> bytes:
    """The original of a letter, for those who may see it; that it was seen stands in the audit.

    Raises DeskError, LedgerError.
    """
    case = await case_of(worker, id_)
    now = worker.clock.now()
    content = await asyncio.to_thread(Originals(worker.config).read, event, case.id, by=worker.by, now=now)
    on_disk(worker.journal, Audit(time=now, by=worker.by, what="case.original", subject=case.id, detail=event))
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
    worker: Worker, case: Case, what: str, party: str, channel: str, data: dict[str, Any], word: str, text: bytes
) -> CaseEvent:
    if not channel.strip():
        raise DeskError("by which channel? (a form's address, a role address, a telephone call)")
    to = "to" if what == "contact" else "from"
    line = f"{word} {to} {party} by {said(channel)}"
    told = f"{line}: {text_of(text)}" if text else line
    return _kept(worker, case, what, told, {"with": party, "channel": said(channel)} | data, "", text)


def _kept(
    worker: Worker, case: Case, what: str, told: str, data: dict[str, Any], name: str, content: bytes
) -> CaseEvent:
    """An event with an original. The original comes first: without its event it is never shown, and expires."""
    id_, now = new_id(worker.clock.now()), worker.clock.now()
    if content:
        Originals(worker.config).keep(Original(id_, case.id, now, worker.by, name), content)
        data = data | {"original": id_}
    return act(worker, case, what, told, data=data, id_=id_)
