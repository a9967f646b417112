"""What people do in a case: each act is one event, written to the journal together with its audit entry."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import msgspec

from outbound_guard.blocklist.own import subject_of
from outbound_guard.desk.cases.channels import waiting_days
from outbound_guard.desk.cases.following import Ours, operator_of
from outbound_guard.desk.cases.opening import CLEAN, MERGED, Sighting, home, seen
from outbound_guard.desk.cases.person import Person, act, case_of, looked, needed_text, open_one, write
from outbound_guard.desk.cases.resolvers import confirmation
from outbound_guard.desk.cases.stages import (
    CAUSED,
    CAUSES,
    DAY,
    DONE,
    FALSE,
    ITEMS,
    NAMES,
    NOT_NEEDED,
    cleared_from,
    entering,
    need_ready_to_file,
    next_stage,
    open_items,
    reopening,
)
from outbound_guard.desk.cases.words import said
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import case_queries, listing_queries
from outbound_guard.ledger.case_queries import Case
from outbound_guard.ledger.records import CaseCheck, CaseEvent, CaseSubject
from outbound_guard.mail import new_id

_FOLLOWS = ("contained", "informed", "apology", "advice")
"""Items that depend on the finding."""
LONGEST_NAME = 64
"""Characters of an owner's login."""


async def open_case(person: Person, subject: str, *, source: str = "", reason: str = "") -> tuple[str, str]:
    """Open a case by hand: its id, and what that was: opened, reopened, seen (it joins one), or empty (known already).

    Raises DeskError, LedgerError.
    """
    try:
        subject = str(ipaddress.ip_network(subject.strip(), strict=False)) if "/" in subject else subject_of(subject)
    except ValueError as error:
        raise DeskError(str(error)) from None
    now, id_ = person.clock.now(), new_id(person.clock.now())
    if source:
        try:
            source = subject_of(source)
        except ValueError as error:
            raise DeskError(f"{error}; the zone of a list is meant") from None
    about = CaseSubject(
        subject=subject,
        source=source,
        kind="list" if source else "person",
        operator=operator_of(source) if source else "",
        reason=said(reason),
        since=now,
        seen=now,
    )
    text = f"{subject} on {source}" if source else subject
    sighting = Sighting(
        id=id_,
        time=now,
        about=about,
        pool=Ours(person.config).pool(subject),
        by=person.by,
        text=f"{text}: {about.reason}" if about.reason else text,
    )
    days = person.config.cases.reopen_days
    known = await asyncio.to_thread(case_queries.cases, person.ledger, closed_since=now - days * DAY)
    case = home(known, sighting, days)
    event = seen(case, sighting)
    if event is None:
        return case.id if case else "", ""
    write(person, event, f"case.{event.what}", sighting.text)
    return event.case, event.what


async def take(person: Person, id_: str, owner: str = "") -> CaseEvent:
    """Make somebody (default: oneself) the owner of a case. Raises DeskError, LedgerError."""
    case = await open_one(person, id_)
    owner = owner.strip() or person.by
    if not owner.isprintable() or len(owner) > LONGEST_NAME:
        raise DeskError(f"an owner is a login of at most {LONGEST_NAME} printable characters")
    return act(person, case, "taken", f"owner: {owner}", fields={"owner": owner})


async def note(person: Person, id_: str, text: str) -> CaseEvent:
    """Write a comment; personal contact data in it is redacted. Closed cases take comments too.

    Raises DeskError, LedgerError.
    """
    case = await case_of(person, id_)
    return act(person, case, "noted", needed_text(text, "a comment"))


async def look(person: Person, id_: str, *, again: bool = False) -> tuple[Case, list[CaseEvent]]:
    """Have the machine look now for what it can find, `again` what it has found before: the case, and what is new.

    Asks resolvers, so it can take half a minute for each. Raises DeskError, LedgerError, ConfigError.
    """
    case, event = await looked(person, await open_one(person, id_), again=again)
    events = [found for found in (event, await confirmation(case, person.config, person.clock)) if found]
    if events:
        on_disk(person.journal, *events)
    return case, events


async def check(
    person: Person,
    id_: str,
    item: str,
    text: str,
    *,
    needed: bool = True,
    done: bool = True,
    finding: str = "",
    cause: str = "",
    accounts: tuple[str, ...] = (),
) -> CaseEvent:
    """Tick an item off, with its evidence; `needed=False`: say why it is not needed; `done=False`: open it again.

    The item `cause` takes `finding` (caused | false), `cause` (CAUSES) and the accounts it came from.
    Raises DeskError, LedgerError.
    """
    case = await open_one(person, id_)
    if item not in ITEMS:
        raise DeskError(f"no item {item!r}; there are {', '.join(ITEMS)}")
    if (finding or cause or accounts) and item != "cause":
        raise DeskError(f"a finding belongs to the item `cause`, not to {item}")
    text = needed_text(text, "evidence" if needed and done else "a reason")
    fields: dict[str, Any] = {}
    checks: dict[str, CaseCheck] = {}
    if item == "cause":
        if not needed:
            raise DeskError("the cause is always needed: caused or false, with the evidence")
        fields = _finding(finding, cause, accounts) if done else {"finding": "", "cause": "", "accounts": []}
        # What the machine made of another finding does not hold for this one.
        checks = {name: CaseCheck() for name in _FOLLOWS if name in case.checks and case.checks[name].by == "system"}
    if item == "contained" and done:
        if not needed and case.finding != FALSE:
            raise DeskError("containing is not needed only if the finding is false")
        fields["contained"] = person.clock.now() if needed else 0.0
    subjects: tuple[CaseSubject, ...] = ()
    if item == "gone" and done:
        subjects = await asyncio.to_thread(_unwatched, person, case)
        if subjects and len(subjects) == len(case.listed):
            fields["removed"] = person.clock.now()
    if item == "filed" and done and needed:
        need_ready_to_file(case)
    state = "" if not done else DONE if needed else NOT_NEEDED
    checks[item] = CaseCheck(state, text if done else "")
    return act(
        person,
        case,
        "checked",
        f"{item} {state or 'open again'}: {text}",
        fields=fields,
        subjects=subjects,
        checks=checks,
    )


async def advance(person: Person, id_: str, *, to: str = "", reason: str = "") -> CaseEvent:
    """Go on to the next stage, or back to an earlier one (`to`, with a reason; its items are open again then).

    The machine looks first. Raises DeskError if something is missing, LedgerError.
    """
    case, event = await looked(person, await open_one(person, id_))
    records = [event] if event else []
    now = person.clock.now()
    if to and to not in NAMES:
        raise DeskError(f"no stage {to!r}; there are {', '.join(NAMES)}")
    if to and NAMES.index(to) <= NAMES.index(case.stage):
        on_disk(person.journal, *records)
        text = f"back to {to}: {needed_text(reason, 'a reason to go back')}"
        return act(person, case, "stage", text, fields=entering(to, now), checks=cleared_from(case, to))
    try:
        stage = next_stage(case)
    except DeskError:
        on_disk(person.journal, *records)
        raise
    if to and to != stage:
        on_disk(person.journal, *records)
        raise DeskError(f"{case.id} goes from {case.stage} to {stage}, not to {to}")
    fields = entering(stage, now, person.config.cases.clean_days)
    if stage == "watch" and case.listed:
        fields["due"] = now + min(waiting_days(person.config, about) for about in case.listed) * DAY
    on_disk(person.journal, *records)
    return act(
        person, case, "stage", f"from {case.stage} to {stage}" + (f": {said(reason)}" if reason else ""), fields=fields
    )


async def close(person: Person, id_: str, summary: str, *, unfinished: str = "") -> CaseEvent:
    """Close a case that has been through all stages; `unfinished` says why one is closed that has not.

    Raises DeskError, LedgerError.
    """
    case, event = await looked(person, await open_one(person, id_))
    summary = needed_text(summary, "a summary")
    unfinished = said(unfinished)
    missing = [item.name for item in open_items(case)]
    if not unfinished and (case.stage != NAMES[-1] or missing or case.listed):
        left = (
            f"it is in {case.stage}" if case.stage != NAMES[-1] else f"{', '.join(missing) or 'a listing'} still open"
        )
        raise DeskError(f"{case.id} is not finished, {left}; to close it all the same, say why it stays unfinished")
    if event:
        on_disk(person.journal, event)
    fields = {"state": "closed", "closed": person.clock.now(), "summary": summary, "due": 0.0, "due_for": ""}
    why = f" (unfinished in {case.stage}: {unfinished})" if unfinished else ""
    return act(person, case, "closed", summary + why, fields=fields, data={"unfinished": bool(unfinished)})


async def reopen(person: Person, id_: str, reason: str) -> CaseEvent:
    """Open a closed case again by hand; it begins anew with verify. Raises DeskError, LedgerError."""
    case = await case_of(person, id_)
    if case.state == "open":
        raise DeskError(f"{case.id} is open")
    if case.kind == MERGED:
        raise DeskError(f"{case.id} is {case.summary}, and goes on there")
    text = needed_text(reason, "a reason")
    fields = reopening(case, case.not_before(person.clock.now()))
    return act(person, case, "reopened", text, fields=fields, checks={item: CaseCheck() for item in case.checks})


def _unwatched(person: Person, case: Case) -> tuple[CaseSubject, ...]:
    """The subjects still listed that only a person can say of that they are not, marked as clean."""
    known = listing_queries.listings(person.ledger, subjects=sorted({s.subject for s in case.listed}))
    watched = {(row["subject"], row["zone"]) for row in known}
    now = person.clock.now()
    return tuple(
        msgspec.structs.replace(s, state=CLEAN, clean_since=now)
        for s in case.listed
        if s.kind != "receiver" and (s.subject, s.source) not in watched
    )


def _finding(finding: str, cause: str, accounts: tuple[str, ...]) -> dict[str, Any]:
    if finding not in (CAUSED, FALSE):
        raise DeskError("the item `cause` needs a finding: caused (by our customers or by us) or false")
    if cause not in CAUSES:
        raise DeskError(f"no cause {cause!r}; there are {', '.join(CAUSES)}")
    if not all(account.strip() for account in accounts):
        raise DeskError("an account has a name")
    return {"finding": finding, "cause": cause, "accounts": list(dict.fromkeys(map(str.strip, accounts)))}
