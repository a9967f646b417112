"""The stages of a case, what must be done or found in each, and when it may go on.

The order is that of calm work: first see whether it is true, then find out why, stop it, tell those concerned, and only
then ask to be taken off the list. Whoever asks while mail of the same kind still goes out is listed again at once, and
believed less the next time. So nothing is filed before the cause is contained, or found to be no cause of ours.
"""

from __future__ import annotations

import msgspec

from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger.case_queries import Case
from outbound_guard.ledger.records import CaseCheck

HOUR, DAY = 3600.0, 86400.0

DONE, NOT_NEEDED = "done", "not needed"

CAUSED, FALSE = "caused", "false"

FILING = ("appeal", "escalation")
"""Letters that ask a list or receiver for something."""

CAUSES = {
    "password": "a stolen or guessed password",
    "script": "an abused script or form on a web site",
    "malware": "malware on a customer's machine",
    "vpn": "a customer's VPN or proxy that others used",
    "bulk": "bulk mail to people who had not asked for it",
    "spammer": "a customer who came to send spam",
    "forwarding": "mail that was only forwarded, from outside",
    "bounces": "bounces and automatic answers to forged senders",
    "neighbour": "a listing of the whole range, for somebody else in it",
    "earlier": "something an earlier holder of the address had done",
    "mistake": "a mistake of the list or the receiver",
    "unknown": "a cause that we could not find",
}
"""What a case can turn out to come from."""

OURS_TO_DO = {
    "password": "a limit for the mailboxes of the account until it has a second factor; longer passwords as a rule",
    "script": "a limit for the script or the web server; its mail in a pool of its own",
    "malware": "the account stays limited until the machine has been scanned",
    "vpn": "the account stays limited until its VPN sends no mail; port 25 closed for it",
    "bulk": "a pool of its own for bulk mail; the terms ask for lists that people have signed up to",
    "spammer": "the contract ended; a low limit for new accounts",
    "forwarding": "forwarded mail in a pool of its own, and filtered before it is forwarded",
    "bounces": "no automatic answers to mail that nobody has checked; bounces in a pool of their own",
    "neighbour": "addresses in a range without such neighbours; the owner of the range told",
    "earlier": "new addresses are looked up on the lists before they send, and begin with little mail",
    "mistake": "the evidence kept, to be shown the next time",
    "unknown": "the limits of the pool lowered for a while; what would have shown the cause is recorded from now on",
}
"""What we ourselves could do so that a cause does not come back: suggestions, for a person to decide."""

WHAT = frozenset(
    (
        "opened",
        "reopened",
        "seen",
        "cleared",
        "found",
        "checked",
        "noted",
        "taken",
        "stage",
        "contact",
        "answer",
        "attached",
        "reminder",
        "escalation",
        "expired",
        "merged",
        "closed",
    )
)
"""The words of a case's history."""


class Item(msgspec.Struct, frozen=True):
    """One line of a checklist."""

    name: str
    """Unique among all stages."""
    asks: str
    machine: bool = False
    """True if the machine looks for it; a person may always answer it as well."""


class Stage(msgspec.Struct, frozen=True):
    """One stage."""

    name: str
    asks: str
    doing: str
    """What customers are told that we do in it."""
    hours: float
    """So long it should take; after that the case is overdue."""
    items: tuple[Item, ...]


STAGES = (
    Stage(
        "verify",
        "is it true, and is it really about us",
        "we are looking at who lists or refuses us, and why",
        4,
        (
            Item("lists", "on which lists or at which receivers, since when, and what they say", machine=True),
            Item("resolvers", "do several resolvers say the same", machine=True),
            Item("scope", "is it about the address itself, its range or its network", machine=True),
            Item("ours", "was it ours at the time: earlier holder, dynamic or shared use"),
        ),
    ),
    Stage(
        "investigate",
        "where does it come from",
        "we are looking for the cause",
        24,
        (
            Item("traffic", "accounts and campaigns that went out in the window", machine=True),
            Item("signs", "complaints, trap hints, suspensions, hints of scripts, malware or VPNs", machine=True),
            Item("customer", "what the customers concerned say", machine=True),
            Item("cause", "the finding: caused by us (by which account, how) or false, with the evidence"),
        ),
    ),
    Stage(
        "contain",
        "has it stopped",
        "we are stopping the cause",
        8,
        (Item("contained", "what was done against the cause, and when", machine=True),),
    ),
    Stage(
        "notify",
        "do those concerned know",
        "the cause is stopped, and we are telling everybody concerned",
        24,
        (
            Item("informed", "the customers concerned know what happened and what is being done", machine=True),
            Item("apology", "a customer taken for a spammer by mistake has our apology", machine=True),
        ),
    ),
    Stage(
        "appeal",
        "is every list and receiver asked, in the form it wants",
        "we are asking each list and receiver to accept our mail again",
        24,
        (Item("filed", "a request at each list and receiver that still has us, or a reason why not", machine=True),),
    ),
    Stage(
        "watch",
        "has the operator answered, and is the listing gone",
        "we have asked each list and receiver, and are waiting for their answers",
        5 * 24,
        (
            Item("answered", "the operator's answer, or the listing is gone without one", machine=True),
            Item("gone", "no list and no receiver has us any more", machine=True),
        ),
    ),
    Stage(
        "confirm",
        "does it stay away",
        "we are watching whether it stays away",
        8 * 24,
        (Item("stays", "clean for the days required", machine=True),),
    ),
    Stage(
        "prevent",
        "will it happen again",
        "we are seeing to it that it does not come back",
        7 * 24,
        (
            Item("advice", "the customer has advice: passwords, updates, lists, an address of its own", machine=True),
            Item("ours_to_do", "what changes with us: class of the address, limits, terms"),
        ),
    ),
)
NAMES = tuple(stage.name for stage in STAGES)
ITEMS = {item.name: item for stage in STAGES for item in stage.items}
STAGE_OF = {item.name: stage for stage in STAGES for item in stage.items}


def stage_of(case: Case) -> Stage:
    """The stage that a case is in; a closed one is in its last."""
    return STAGES[NAMES.index(case.stage)] if case.stage in NAMES else STAGES[-1]


def open_items(case: Case, stage: Stage | None = None) -> list[Item]:
    """What is still to be done in a stage (default: the one it is in)."""
    return [item for item in (stage or stage_of(case)).items if not case.done(item.name)]


def ready_to_file(case: Case) -> list[str]:
    """What hinders a request to a list or receiver, one sentence each; empty if it may be filed."""
    cause = case.checks.get("cause")
    if not case.finding or cause is None or not cause.evidence:
        return ["the cause is not known yet: tick off `cause` with a finding (caused or false) and its evidence"]
    if case.finding == FALSE:
        return []
    contained = case.checks.get("contained")
    if contained is None or contained.state != DONE or not contained.evidence:
        return ["the cause is not contained yet: tick off `contained` with what was done, and when"]
    return []


def need_ready_to_file(case: Case) -> None:
    """Raises DeskError if nothing may be filed yet."""
    if hindrances := ready_to_file(case):
        raise DeskError(f"{case.id} is not ready to file: {'; '.join(hindrances)}")


def next_stage(case: Case) -> str:
    """Where the case goes on. Raises DeskError if something is missing, or nothing but closing is left."""
    stage = stage_of(case)
    if missing := open_items(case, stage):
        names = ", ".join(item.name for item in missing)
        raise DeskError(f"{case.id} cannot leave {stage.name} yet: {names} still open; see `case check {case.id}`")
    at = NAMES.index(stage.name) + 1
    if at == len(STAGES):
        raise DeskError(f"{case.id} has been through all stages: close it with a summary")
    if NAMES[at] == "appeal":
        need_ready_to_file(case)
    return NAMES[at]


def cleared_from(case: Case, stage: str) -> dict[str, CaseCheck]:
    """What going back to `stage` opens again: its items and those of all later stages."""
    again = NAMES[NAMES.index(stage) :]
    return {item: CaseCheck() for item in case.checks if item in ITEMS and STAGE_OF[item].name in again}


def reopening(case: Case, now: float) -> dict[str, object]:
    """The fields of a case that begins anew; what was found in the round before holds no longer."""
    return {
        "state": "open",
        "round_since": now,
        "reopened": case.reopened + 1,
        "finding": "",
        "cause": "",
        "contained": 0.0,
        "closed": 0.0,
        "summary": "",
    } | entering("verify", now)


def entering(stage: str, now: float, clean_days: float = 7.0) -> dict[str, object]:
    """The fields of a case whose stage begins now, its due time among them."""
    found = STAGES[NAMES.index(stage)]
    due = now + (clean_days * DAY + DAY if stage == "confirm" else found.hours * HOUR)
    return {
        "stage": stage,
        "stage_since": now,
        "due": due,
        "due_for": f"{found.name}: {found.asks}",
        "reminded": 0.0,
    }
