"""What time alone brings about in a case: reminders, escalation, receivers that refuse nothing any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from outbound_guard.config import Config
from outbound_guard.desk.cases.channels import next_step, waiting_days
from outbound_guard.desk.cases.opening import cleared
from outbound_guard.desk.cases.stages import DAY, FILING
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
        yield _waited(case, history, config, now)
    elif late and now - case.reminded >= REMIND:
        who = case.owner or "nobody owns it"
        yield _event(case, now, "reminder", f"overdue since {day(case.due)}: {case.due_for} ({who})", reminded=now)
    update = update_due(case, history)
    if 0 < update <= now:
        yield CaseEvent(
            id=f"update-{case.id}-{update - UPDATE:.0f}",
            case=case.id,
            time=case.not_before(now),
            what="reminder",
            text="the customers concerned have not heard from us for three days: send them an update",
            data={"of": "update"},
        )


def waiting_ends(case: Case, history: list[Event], config: Config) -> dict[str, float]:
    """Until when each list or receiver that still has us may take to answer (unix seconds), by its name."""
    waiting = {subject.source: subject for subject in case.listed}
    asked = dict.fromkeys(waiting, case.stage_since)
    for event in history:
        named = event.data.get("sources", ()) if event.what == "escalation" else ()
        if event.what == "contact" and event.data.get("about") in FILING:
            named = (event.data["with"].partition(":")[2],)
        asked |= {source: max(asked[source], event.time) for source in named if source in asked}
    return {source: asked[source] + waiting_days(config, about) * DAY for source, about in waiting.items()}


def update_due(case: Case, history: list[Event]) -> float:
    """When the customers concerned should hear from us again (unix seconds); 0: they need not."""
    told = [e.time for e in history if e.what == "contact" and e.data.get("with", "").startswith("customer:")]
    reminded = [e.time for e in history if e.what == "reminder" and e.data.get("of") == "update"]
    return max(told + reminded) + UPDATE if told and case.listed else 0.0


def _waited(case: Case, history: list[Event], config: Config, now: float) -> CaseEvent:
    """Each operator has its own waiting time, from when it was asked last, or was named in an escalation."""
    waiting = {subject.source: subject for subject in case.listed}
    ends = waiting_ends(case, history, config)
    over = sorted(source for source, end in ends.items() if end <= now)
    due = min(now + waiting_days(config, waiting[s]) * DAY if s in over else end for s, end in ends.items())
    if not over:
        return _event(case, now, "reminder", f"the next answer is due on {day(due)}", due=due, reminded=now)
    steps = "\n".join(f"{source}: {next_step(config, waiting[source])}" for source in over)
    text = f"the waiting time is over and {', '.join(over)} still {'has' if len(over) == 1 else 'have'} us\n{steps}"
    return _event(case, now, "escalation", text, {"sources": over}, due=due, reminded=now)


def _event(
    case: Case, now: float, what: str, text: str, data: dict[str, Any] | None = None, **fields: float
) -> CaseEvent:
    return CaseEvent(
        # The time it was due makes it one fact, whoever finds it.
        id=f"{what}-{case.id}-{case.due:.0f}-{case.reminded:.0f}"[:128],
        case=case.id,
        time=case.not_before(now),
        what=what,
        text=text,
        fields=dict(fields),
        data=data or {},
    )
