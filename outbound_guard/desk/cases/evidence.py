"""What the machine finds for the checklist by itself, with the evidence. A person may always say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from outbound_guard.config import Config
from outbound_guard.desk.cases import traffic
from outbound_guard.desk.cases.opening import named
from outbound_guard.desk.cases.stages import DAY, DONE, FALSE, HOUR, NAMES, NOT_NEEDED, OURS_TO_DO, stage_of
from outbound_guard.desk.cases.words import cut, day, said
from outbound_guard.ledger import case_evidence, listing_queries
from outbound_guard.ledger.case_queries import Case, Event
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.records import CaseCheck, CaseEvent

REFRESH = 6 * HOUR
"""So often what was found about the traffic is looked up again while nobody has acted on it."""


class Sources(msgspec.Struct, frozen=True):
    """What there is to look at."""

    ledger: Ledger
    config: Config
    now: float
    history: list[Event]
    """Of the case."""
    windows: dict[Any, traffic.Window] = {}
    """What was looked up already: cases of one time share it."""


def found(case: Case, sources: Sources, *, again: bool = False) -> CaseEvent | None:
    """An event with all that is newly found for the items of the stage, and of the first two stages; None if nothing.

    `again`: what was found before is looked up anew. Raises LedgerError.
    """
    at = NAMES.index(stage_of(case).name)
    checks: dict[str, CaseCheck] = {}
    for item, look in _LOOKS.items():
        if at < _FROM.get(item, 0) or not _wanted(case, item, sources.now, again):
            continue
        check = look(case, sources)
        if check is None:
            continue
        check = msgspec.structs.replace(check, evidence=cut(check.evidence))
        known = case.checks.get(item)
        if known is None or (known.state, known.evidence) != (check.state, check.evidence):
            checks[item] = check
    if not checks:
        return None
    contained = "contained" in checks and checks["contained"].state == DONE
    fields = {"contained": sources.now} if contained and not case.contained else {}
    return CaseEvent(
        # The same thing found by two processes at a time is one event.
        id=f"found-{case.id}-{sources.now:.0f}-{'-'.join(checks)}"[:128],
        case=case.id,
        time=case.not_before(sources.now),
        what="found",
        text="\n".join(f"{item}: {check.evidence.partition(chr(10))[0]}" for item, check in checks.items()),
        fields=fields,
        checks=checks,
    )


def _wanted(case: Case, item: str, now: float, again: bool) -> bool:
    check = case.checks.get(item)
    if check is None or not check.state:
        return True
    if check.by != "system":
        return False
    if item == "contained":
        # What was lifted before anything is filed no longer contains anything.
        return case.stage in ("contain", "notify", "appeal")
    stale = item in ("traffic", "signs") and now - check.time >= REFRESH
    return again or (stale and case.stage in ("verify", "investigate"))


def _lists(case: Case, sources: Sources) -> CaseCheck | None:
    lines = []
    for subject in case.listed:
        who = f"{subject.source} refuses" if subject.kind == "receiver" else f"{subject.source or 'somebody'} lists"
        times = f" ({subject.count} messages)" if subject.count else f" ({subject.codes})" if subject.codes else ""
        reason = f": {subject.reason}" if subject.reason else ""
        lines.append(f"{who} {named(subject.subject)} since {day(subject.since)}{times}{reason}")
    addresses = sorted({s.subject for s in case.subjects if s.subject != "receiver"})
    others = listing_queries.listings(sources.ledger, subjects=addresses) if addresses else []
    lines += [
        f"{state} on {len(zones)} other lists: {', '.join(zones)}"
        for state in ("clean", "unknown")
        if (zones := sorted({row["zone"] for row in others if row["state"] == state}))
    ]
    return CaseCheck(DONE, "\n".join(lines)) if lines else None


def _resolvers(case: Case, sources: Sources) -> CaseCheck | None:
    """Lists are asked again and again, and every answer counts only if the list is alive and the resolver honest."""
    if all(subject.kind == "receiver" for subject in case.subjects):
        return CaseCheck(NOT_NEEDED, "the receivers said so themselves in their answers to our mail")
    return None


def _scope(case: Case, sources: Sources) -> CaseCheck | None:
    lines = [
        f"{s.source} refuses what comes from {s.subject}"
        if s.kind == "receiver"
        else f"{s.source}: {s.subject} is listed by its {s.scope}"
        for s in case.subjects
        if s.scope and s.source
    ]
    return CaseCheck(DONE, "\n".join(lines)) if lines else None


def _window(case: Case, sources: Sources) -> traffic.Window:
    key = traffic.key(case, sources.config)
    if key not in sources.windows:
        sources.windows[key] = traffic.window(case, sources.ledger, sources.config, sources.now)
    return sources.windows[key]


def _traffic(case: Case, sources: Sources) -> CaseCheck:
    seen = _window(case, sources)
    suspects = [s.account for s in seen.suspects[: traffic.SHOWN] if s.weight > 1]
    return CaseCheck(DONE, traffic.told_traffic(seen), {"suspects": suspects})


def _signs(case: Case, sources: Sources) -> CaseCheck:
    return CaseCheck(DONE, traffic.told_signs(_window(case, sources)))


def _customer(case: Case, sources: Sources) -> CaseCheck | None:
    """Whoever is suspected first may not be whose mail it was, so that one answer is enough to go on with."""
    answers = [
        f"{day(event.time)} {event.text}"
        for event in sources.history
        if event.what == "answer" and event.time >= case.round_since and event.data["with"].startswith("customer:")
    ]
    return CaseCheck(DONE, "\n".join(answers)) if answers else None


def _contained(case: Case, sources: Sources) -> CaseCheck | None:
    if case.finding == FALSE:
        return CaseCheck(NOT_NEEDED, f"found to be false: {case.checks['cause'].evidence}")
    if not case.accounts or not case.finding:
        return None
    lines, told, held = [], [], set()
    for row in case_evidence.in_force(sources.ledger, case.accounts, sources.now):
        lines.append(
            f"{day(row['time'])}: {row['scope']} {row['subject']} {row['change']} by {row['by']}"
            + (f" ({said(row['reason'])})" if row["reason"] else "")
        )
        told.append(f"the {row['scope']} was {row['change']} on {day(row['time'])}")
        held.add(row["account"] or row["subject"])
    # One that is not stopped is one too many.
    done = held >= set(case.accounts)
    if not done and case.done("contained"):
        free = ", ".join(sorted(set(case.accounts) - held))
        return CaseCheck("", f"nothing is in force against {free} any more: say why it is contained all the same")
    # What is told to others names neither the customer nor who of us it was.
    return CaseCheck(DONE, "\n".join(lines), {"told": "; ".join(dict.fromkeys(told))}) if done else None


def _informed(case: Case, sources: Sources) -> CaseCheck | None:
    if not case.accounts:
        return CaseCheck(NOT_NEEDED, "no customer's mail was the cause") if case.finding == FALSE else None
    told = _contacted(case, sources, "customer:")
    if not set(case.accounts) <= told.keys():
        return None
    return CaseCheck(DONE, "\n".join(f"{account}: {told[account]}" for account in case.accounts))


def _apology(case: Case, sources: Sources) -> CaseCheck | None:
    owed = mistaken(case, sources)
    if not owed:
        return CaseCheck(NOT_NEEDED, "no customer was suspended by mistake")
    told = _contacted(case, sources, "customer:", about="apology")
    if not set(owed) <= told.keys():
        return CaseCheck("", f"owed to {', '.join(owed)}, suspended although it was not their mail", {"owed": owed})
    return CaseCheck(DONE, "\n".join(f"{account}: {told[account]}" for account in owed))


def mistaken(case: Case, sources: Sources) -> list[str]:
    """Accounts that were suspended in the window and restored, or are suspended although the finding is "false"."""
    state: dict[str, str] = {}
    for row in case_evidence.changes(sources.ledger, case.began - DAY, sources.now):
        if row["change"] in ("suspended", "resumed"):
            state[row["account"] or row["subject"]] = row["change"]
    wrong = ("suspended", "resumed") if case.finding == FALSE else ("resumed",)
    return sorted(account for account, last in state.items() if last in wrong and account not in case.accounts)


def _filed(case: Case, sources: Sources) -> CaseCheck | None:
    if not case.listed:
        return CaseCheck(NOT_NEEDED, "nobody lists or refuses us any more")
    wanted = _wanted_of(case)
    asked = {
        event.data["with"].partition(":")[2]: f"{day(event.time)} by {event.by}, {event.data.get('channel', '')}"
        for event in sources.history
        if event.what == "contact" and event.data.get("about") == "appeal" and _since(event, wanted)
    }
    if not wanted.keys() <= asked.keys():
        return None
    return CaseCheck(DONE, "\n".join(f"{source}: {asked[source]}" for source in wanted))


def _answered(case: Case, sources: Sources) -> CaseCheck | None:
    if not case.listed:
        return CaseCheck(NOT_NEEDED, "the listings ended without an answer being needed")
    wanted = _wanted_of(case)
    said_by = {
        event.data.get("with", "").partition(":")[2]: f"{day(event.time)}: {event.data.get('outcome', '')}"
        for event in sources.history
        if event.what == "answer" and _since(event, wanted)
    }
    if not wanted.keys() <= said_by.keys():
        return None
    return CaseCheck(DONE, "\n".join(f"{source} {said_by[source]}" for source in wanted))


def _wanted_of(case: Case) -> dict[str, float]:
    """Who still lists or refuses us, and since when: what was asked and said before was about something else."""
    wanted: dict[str, float] = {}
    for subject in case.listed:
        wanted[subject.source] = max(wanted.get(subject.source, case.round_since), subject.since)
    return wanted


def _since(event: Event, wanted: dict[str, float]) -> bool:
    return event.time >= wanted.get(event.data.get("with", "").partition(":")[2], float("inf"))


def _gone(case: Case, sources: Sources) -> CaseCheck | None:
    if case.listed or not case.removed:
        return None
    return CaseCheck(DONE, f"nobody lists or refuses us any more since {day(case.removed)}")


def _stays(case: Case, sources: Sources) -> CaseCheck | None:
    days = sources.config.cases.clean_days
    if case.listed or not case.removed or sources.now - case.removed < days * DAY:
        return None
    return CaseCheck(DONE, f"clean everywhere since {day(case.removed)}, that is {days} days or more")


def _advice(case: Case, sources: Sources) -> CaseCheck | None:
    if not case.accounts:
        return CaseCheck(NOT_NEEDED, "no customer's mail was the cause") if case.finding == FALSE else None
    told = _contacted(case, sources, "customer:", about="advice")
    if not set(case.accounts) <= told.keys():
        return None
    return CaseCheck(DONE, "\n".join(f"{account}: {told[account]}" for account in case.accounts))


def _ours_to_do(case: Case, sources: Sources) -> CaseCheck | None:
    """A suggestion; a person says what is done."""
    return CaseCheck("", f"for example: {OURS_TO_DO[case.cause]}") if case.cause in OURS_TO_DO else None


def _contacted(case: Case, sources: Sources, kind: str, about: str = "") -> dict[str, str]:
    """With whom of a kind there was contact in this round: how and when, by name."""
    return {
        event.data["with"].removeprefix(kind): f"{day(event.time)} by {event.by}, {event.data.get('channel', '')}"
        for event in sources.history
        if event.what == "contact"
        and event.time >= case.round_since
        and event.data.get("with", "").startswith(kind)
        and (not about or event.data.get("about") == about)
    }


_LOOKS: dict[str, Callable[[Case, Sources], CaseCheck | None]] = {
    "lists": _lists,
    "resolvers": _resolvers,
    "scope": _scope,
    "traffic": _traffic,
    "signs": _signs,
    "customer": _customer,
    "contained": _contained,
    "informed": _informed,
    "apology": _apology,
    "filed": _filed,
    "answered": _answered,
    "gone": _gone,
    "stays": _stays,
    "advice": _advice,
    "ours_to_do": _ours_to_do,
}
_FROM = {
    item: NAMES.index(stage)
    for item, stage in {
        "contained": "investigate",
        "informed": "notify",
        "apology": "notify",
        "filed": "appeal",
        "answered": "watch",
        "gone": "watch",
        "stays": "confirm",
        "advice": "prevent",
        "ours_to_do": "prevent",
    }.items()
}
"""The stage from which on something is looked for; before, what is found would only mislead."""
