"""Two open cases turn out to be one: what the one is about, and its letters, go over to the other.

The rules of `opening` join what looks alike; that two cases have the same reason in spite of different lists, ranges or
receivers is for a person to find out. What was found about the cause is not carried over: it is said once, in the case
that stays. Originals stay with the case that they were added to.
"""

from __future__ import annotations

import msgspec

from outbound_guard.desk.cases.opening import MERGED, Sighting, seen
from outbound_guard.desk.cases.person import Person, act, open_one
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import case_queries
from outbound_guard.ledger.case_queries import Case, Event
from outbound_guard.ledger.records import CaseEvent

_PAPERS = ("contact", "answer", "attached")


async def merge(person: Person, id_: str, into: str) -> CaseEvent:
    """Close a case as part of another one, which takes over what it is about. Both must be open.

    In the other case lists and receivers that are new to it have to be asked too, as after any new listing.
    Raises DeskError, LedgerError.
    """
    if id_ == into:
        raise DeskError("a case cannot be merged with itself")
    case, other = await open_one(person, id_), await open_one(person, into)
    now = person.clock.now()
    records: list[CaseEvent] = []
    known = other
    for about in case.subjects:
        sighting = Sighting(
            id=f"merged-{id_}-{into}-{about.subject}-{about.source}"[:128],
            time=now,
            about=about,
            by=person.by,
            text=f"{about.subject} {about.source}, of case {id_}".replace("  ", " "),
        )
        if event := seen(known, sighting):
            records.append(event)
            known = _with(known, event)
    papers = [event for event in case_queries.events(person.ledger, id_) if event.what in _PAPERS]
    records += [_copied(event, case, other) for event in papers]
    # The other case has it before this one is closed: after a crash between the two nothing is lost.
    on_disk(person.journal, *records)
    fields = {
        "state": "closed",
        "kind": MERGED,
        "closed": now,
        "summary": f"the same as case {into}",
        "due": 0.0,
        "due_for": "",
    }
    act(person, other, "merged", f"case {id_} ({case.title}) is the same", data={"case": id_})
    return act(person, case, "merged", f"it is the same as case {into}", fields=fields, data={"case": into})


def _with(case: Case, event: CaseEvent) -> Case:
    """The case as it is after an event about its subjects."""
    keys = {(about.subject, about.source) for about in event.subjects}
    others = tuple(about for about in case.subjects if (about.subject, about.source) not in keys)
    stage = str(event.fields.get("stage", case.stage))
    return msgspec.structs.replace(case, subjects=(*others, *event.subjects), stage=stage)


def _copied(event: Event, case: Case, other: Case) -> CaseEvent:
    data = {name: value for name, value in event.data.items() if name != "original"}
    return CaseEvent(
        id=f"{event.id}-in-{other.id}"[:128],
        case=other.id,
        time=event.time,
        what=event.what,
        by=event.by,
        text=f"{event.text}\n(of case {case.id})",
        data=data | {"case": case.id},
    )
