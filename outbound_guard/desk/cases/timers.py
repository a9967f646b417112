"""What time alone brings about in a case: reminders, escalation, receivers that refuse nothing any more."""

from __future__ import annotations

from collections.abc import Iterator

from outbound_guard.config import Config
from outbound_guard.desk.cases.channels import next_step, waiting_days
from outbound_guard.desk.cases.opening import cleared
from outbound_guard.desk.cases.stages import DAY
from outbound_guard.desk.cases.words import day
from outbound_guard.ledger.case_queries import Case, Event
from outbound_guard.ledger.records import CaseEvent

QUIET = DAY
"""A receiver that has refused nothing for so many seconds is taken to accept us again."""
UPDATE = 3 * DAY
"""So often the customers concerned should hear how it goes, while it lasts."""
REMIND = DAY
"""Seconds between two reminders of the same thing."""


def due(case: Case, history: list[Event], config: Config, now: float) -> Iterator[CaseEvent]:
    """The events that are due now in an open case. Each is yielded once, however often this is asked."""
    for subject in case.subjects:
        if subject.kind == "receiver" and subject.state == "listed" and now - subject.seen >= QUIET:
            id_ = f"quiet-{case.id}-{subject.source}-{subject.subject}-{subject.seen:.0f}"[:128]
            if event := cleared(case, subject.subject, subject.source, now, id_):
                yield event
    late = 0 < case.due <= now
    if case.stage == "watch" and case.listed and late:
        yield from _escalation(case, config, now)
    elif late and now - case.reminded >= REMIND:
        who = case.owner or "nobody owns it"
        yield _event(case, now, "reminder", f"overdue since {day(case.due)}: {case.due_for} ({who})", reminded=now)
    told = [e.time for e in history if e.what == "contact" and e.data.get("with", "").startswith("customer:")]
    reminded = [e.time for e in history if e.what == "reminder" and e.data.get("of") == "update"]
    if told and case.listed and now - max(told + reminded) >= UPDATE:
        yield CaseEvent(
            id=f"update-{case.id}-{max(told + reminded):.0f}",
            case=case.id,
            time=now,
            what="reminder",
            text="the customers concerned have not heard from us for three days: send them an update",
            data={"of": "update"},
        )


def _escalation(case: Case, config: Config, now: float) -> Iterator[CaseEvent]:
    waiting = {subject.source: subject for subject in case.listed}
    sources = sorted(waiting)
    steps = "\n".join(f"{source}: {next_step(config, waiting[source])}" for source in sources)
    days = waiting_days(config, case.listed)
    text = f"the waiting time is over and {', '.join(sources)} still has us\n{steps}"
    yield _event(case, now, "escalation", text, due=now + days * DAY, reminded=now)


def _event(case: Case, now: float, what: str, text: str, **fields: float) -> CaseEvent:
    # The time it was due makes it one fact, whoever finds it.
    id_ = f"{what}-{case.id}-{case.due:.0f}-{case.reminded:.0f}"[:128]
    return CaseEvent(id=id_, case=case.id, time=now, what=what, text=text, fields=dict(fields))
