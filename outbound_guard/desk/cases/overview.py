"""What somebody at work on a case needs to see at a glance: where it stands, what comes next, what time it is. Pure."""

from __future__ import annotations

from typing import Any

from outbound_guard.config import Config
from outbound_guard.desk.cases.drafts import KINDS, TO_CUSTOMER
from outbound_guard.desk.cases.opening import MERGED
from outbound_guard.desk.cases.stages import (
    DAY,
    FALSE,
    FILING,
    NAMES,
    STAGES,
    open_items,
    ready_to_file,
    stage_of,
)
from outbound_guard.desk.cases.timers import QUIET, update_due, waiting_ends
from outbound_guard.ledger.case_queries import Case, Event

NEEDS = {
    "lists": "filled in by itself as soon as a list or receiver is known",
    "resolvers": "filled in when two resolvers say the same; else say how else it was confirmed",
    "scope": "filled in where the list says it; else say what the listing covers",
    "ours": "say since when the address is ours, and who used it before or uses it too",
    "traffic": "filled in from the mail that went out since a day before the first sign",
    "signs": "filled in from answers, standings and signals of that time",
    "customer": "write down an answer of a customer, or say why none is needed",
    "cause": "a finding, its cause, the accounts it came from, and the evidence",
    "contained": "suspend or limit each account of the finding; or say what else was done against the cause",
    "informed": "write down a contact with every account of the finding",
    "apology": "write down an apology to everybody who was suspended by mistake",
    "filed": "write down an appeal to each list and receiver that still has us, or say why there is none",
    "answered": "write down the answer of each, or wait until the listing is gone",
    "gone": "filled in when no list and no receiver has us any more",
    "stays": "filled in after days without a listing",
    "advice": "write down the advice to every account of the finding",
    "ours_to_do": "say what changes with us so that it does not come back",
}
"""How each item gets done."""


def overview(case: Case, history: list[Event], config: Config, now: float) -> dict[str, Any]:
    """`path` (the stages), `timers`, `letters`, `parties`, `papers` (written, said, attached) and `next`, as below."""
    return {
        "path": path(case),
        "timers": timers(case, history, config, now),
        "letters": letters(case),
        "parties": parties(case),
        "papers": papers(history, config, now),
        "next": next_act(case),
    }


def path(case: Case) -> list[dict[str, Any]]:
    """Every stage in order: `stage, asks, hours, items, open` (numbers of items) and `state` (done | now | later)."""
    here = NAMES.index(stage_of(case).name)
    return [
        {
            "stage": stage.name,
            "asks": stage.asks,
            "hours": stage.hours,
            "items": len(stage.items),
            "open": len(open_items(case, stage)),
            "state": _state(case, at, here),
        }
        for at, stage in enumerate(STAGES)
    ]


def timers(case: Case, history: list[Event], config: Config, now: float) -> list[dict[str, Any]]:
    """What is due when, the next first: `what`, `text`, `time` (unix seconds), `over`."""
    if case.state != "open":
        return []
    found: list[tuple[str, str, float]] = []
    if case.due:
        found.append(("stage", case.due_for, case.due))
    if case.stage == "watch":
        ends = waiting_ends(case, history, config)
        found += [("answer", f"{source} has had its time to answer", end) for source, end in ends.items()]
    if update := update_due(case, history):
        found.append(("update", "the customers concerned should hear from us again", update))
    found += [
        ("quiet", f"{s.source} is taken to accept us again if it refuses nothing until then", s.seen + QUIET)
        for s in case.listed
        if s.kind == "receiver"
    ]
    if case.removed and not case.listed and case.stage in ("watch", "confirm"):
        days = config.cases.clean_days
        found.append(("clean", f"clean for {days} days, if nothing comes", case.removed + days * DAY))
    found.sort(key=lambda timer: timer[2])
    return [{"what": what, "text": text, "time": time, "over": time <= now} for what, text, time in found]


def letters(case: Case) -> list[dict[str, Any]]:
    """Every kind of letter: `kind`, `to` (customer | operator) and `hindrance`, empty if it can be drafted now."""
    found = []
    for kind in KINDS:
        to = "customer" if kind in TO_CUSTOMER else "operator"
        hindrance = ""
        if kind in FILING:
            hindrance = "; ".join(ready_to_file(case)) or ("" if case.listed else "nobody lists or refuses us any more")
        found.append({"kind": kind, "to": to, "hindrance": hindrance})
    return found


def parties(case: Case) -> list[str]:
    """With whom there may be contact, as `case contact` and `case answer` name them; any customer besides."""
    sources = dict.fromkeys((s.kind, s.source) for s in case.subjects if s.source)
    found = [f"{'receiver' if kind == 'receiver' else 'list'}:{source}" for kind, source in sources]
    suspects = case.checks["traffic"].data.get("suspects", ()) if "traffic" in case.checks else ()
    owed = case.checks["apology"].data.get("owed", ()) if "apology" in case.checks else ()
    return [*(f"customer:{account}" for account in dict.fromkeys((*case.accounts, *owed, *suspects))), *found]


def papers(history: list[Event], config: Config, now: float) -> list[dict[str, Any]]:
    """Letters, calls, answers and files, newest first; `original`: its id, as long as it is kept, until `expires`."""
    found = []
    for event in reversed(history):
        if event.what not in ("contact", "answer", "attached"):
            continue
        expires = event.time + config.cases.original_days * DAY if event.data.get("original") else 0.0
        found.append(
            {
                "event": event.id,
                "what": event.what,
                "time": event.time,
                "by": event.by,
                "with": event.data.get("with", ""),
                "channel": event.data.get("channel", ""),
                "about": event.data.get("about", ""),
                "outcome": event.data.get("outcome", ""),
                "name": event.data.get("name", ""),
                "text": event.text,
                "original": event.data.get("original", "") if expires > now else "",
                "expires": expires,
            }
        )
    return found


def next_act(case: Case) -> dict[str, Any]:
    """What can be done with the case as a whole: `act` (advance | close | reopen | work | none), `to`, `hindrances`."""
    if case.state != "open":
        return {"act": "none" if case.kind == MERGED else "reopen", "to": "", "hindrances": []}
    stage = stage_of(case)
    missing = [f"{item.name}: {NEEDS[item.name]}" for item in open_items(case, stage)]
    if stage is STAGES[-1]:
        hindrances = missing + [f"{s.source or 'somebody'} still has {s.subject}" for s in case.listed]
        return {"act": "work" if hindrances else "close", "to": "", "hindrances": hindrances}
    to = NAMES[NAMES.index(stage.name) + 1]
    if to == "appeal":
        missing += ready_to_file(case)
    return {"act": "work" if missing else "advance", "to": to, "hindrances": missing}


def may_be_skipped(case: Case, item: str) -> bool:
    """True if an item may be found not to be needed: the cause always is, and containing it unless it is none."""
    return item != "cause" and (item != "contained" or case.finding == FALSE)


def _state(case: Case, at: int, here: int) -> str:
    if case.state != "open":
        return "later" if open_items(case, STAGES[at]) else "done"
    return "done" if at < here else "now" if at == here else "later"
