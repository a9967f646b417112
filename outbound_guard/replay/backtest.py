"""Back-test: one trace under two policies, the one in force and a candidate, and who would notice the difference.

Nothing is judged here. Two runs are laid side by side, with what is known of the messages: what the world answered
when they were sent (as far as it was recorded), and, of traffic with truth labels, what they were.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from outbound_guard.delivery.classes import outcome_of
from outbound_guard.replay import Run
from outbound_guard.replay.driver import Event
from outbound_guard.reply import parse
from outbound_guard.trace import Label, Transaction, labels, transactions

FATES = ("relayed", "deferred", "held", "expired", "quarantined", "refused")
"""What becomes of a message, the mildest first: sent at once; after its client tried again; after a hold; given up by
its client; kept for a person (or longer than a day); refused."""

OUTCOMES = ("delivered", "unknown_user", "refused", "our_address", "later", "complaint", "unknown")
"""What the world answered, by recipient; unknown: nothing was recorded, for example since it was never sent."""


class Mail(msgspec.Struct):
    """Some messages and what is known of them."""

    messages: int = 0
    recipients: int = 0
    senders: int = 0
    accounts: int = 0
    outcomes: dict[str, int] = {}
    labels: dict[str, int] = {}
    """Messages by label (spam, ham, ham of a stolen account); empty if the trace has none."""


class Policy(msgspec.Struct):
    """What one policy does with the trace."""

    name: str
    fates: dict[str, int]
    after_suspension: int
    """Messages that met a suspended sender. Nobody reviews in a replay, so in life they would be fewer."""
    suspended_senders: int
    suspended_accounts: int
    """Accounts with a suspended sender."""
    touched: Mail
    """What is not relayed at once."""


class Change(msgspec.Struct):
    """A sender that the two policies treat differently."""

    sender: str
    account: str
    messages: int
    """All it sent."""
    changed: int
    """Those with another fate."""
    in_force: dict[str, int]
    candidate: dict[str, int]
    suspended: str
    """"newly", "no longer", "both" or ""."""
    outcomes: dict[str, int]
    """Of those with another fate."""
    labels: dict[str, int] = {}


class Report(msgspec.Struct):
    """The comparison, totals first."""

    trace: str
    begin: float
    end: float
    """Unix seconds of the first and the last transaction."""
    everything: Mail
    in_force: Policy
    candidate: Policy
    moves: dict[str, int]
    """Messages by `fate in force -> fate under the candidate`, those that differ."""
    newly_touched: Mail
    no_longer_touched: Mail
    otherwise_touched: Mail
    """Touched by both, with another fate."""
    newly_suspended: list[str]
    no_longer_suspended: list[str]
    senders: list[Change]
    """Most changed messages first."""


class _Counting:
    """Adds up messages."""

    def __init__(self) -> None:
        self.mail = Mail(outcomes={}, labels={})
        self._senders: set[str] = set()
        self._accounts: set[str] = set()

    def add(self, recipients: int, sender: str, account: str, outcomes: dict[str, int], label: Label | None) -> None:
        self.mail.messages += 1
        self.mail.recipients += recipients
        self._senders.add(sender)
        self._accounts.add(account)
        _add(self.mail.outcomes, outcomes)
        if label:
            _add(self.mail.labels, {_word(label): 1})

    def done(self) -> Mail:
        self.mail.senders, self.mail.accounts = len(self._senders), len(self._accounts)
        return self.mail


def compare(trace: Path, in_force: tuple[str, Run], candidate: tuple[str, Run]) -> Report:
    """Lay two runs of a trace side by side; each with the name of its policy. Raises OSError, TraceError."""
    known = labels(trace)
    before, after = in_force[1], candidate[1]
    accounts = before.accounts | after.accounts
    everything, newly, no_longer, otherwise = (_Counting() for _ in range(4))
    touched = {"in_force": _Counting(), "candidate": _Counting()}
    fates: dict[str, Counter[str]] = {"in_force": Counter(), "candidate": Counter()}
    moves: Counter[str] = Counter()
    changes: dict[str, Change] = {}
    begin = end = 0.0
    for transaction in transactions(trace):
        id_ = transaction["id"]
        old, new = before.driver.records.get(id_), after.driver.records.get(id_)
        if old is None or new is None:
            continue  # A later try of a message that is counted already.
        begin, end = begin or transaction["t"], transaction["t"]
        sender = new.get("account") or old.get("account") or ""
        facts = (len(transaction["rcpt_to"]), sender, accounts.get(sender, ""), outcomes(transaction), known.get(id_))
        everything.add(*facts)
        was, would = fate(old), fate(new)
        for side, one in (("in_force", was), ("candidate", would)):
            fates[side][one] += 1
            if one != "relayed":
                touched[side].add(*facts)
        change = changes.get(sender)
        if change is None:
            change = changes[sender] = Change(sender, accounts.get(sender, ""), 0, 0, {}, {}, "", {}, {})
        change.messages += 1
        _add(change.in_force, {was: 1})
        _add(change.candidate, {would: 1})
        if was != would:
            moves[f"{was} -> {would}"] += 1
            (newly if was == "relayed" else no_longer if would == "relayed" else otherwise).add(*facts)
            change.changed += 1
            _add(change.outcomes, facts[3])
            if facts[4]:
                _add(change.labels, {_word(facts[4]): 1})
    suspended = [_suspended(before), _suspended(after)]
    for name, change in changes.items():
        change.suspended = _standing(name in suspended[0], name in suspended[1])
    differing = [c for c in changes.values() if c.changed or c.suspended in ("newly", "no longer")]
    policies = {
        side: Policy(
            name,
            {one: fates[side][one] for one in FATES},
            sum(1 for record in run.driver.records.values() if record.get("suspended")) - len(names),
            len(names),
            len({accounts.get(sender, "") for sender in names}),
            touched[side].done(),
        )
        for side, (name, run), names in (("in_force", in_force, suspended[0]), ("candidate", candidate, suspended[1]))
    }
    return Report(
        str(trace),
        begin,
        end,
        everything.done(),
        policies["in_force"],
        policies["candidate"],
        dict(moves.most_common()),
        newly.done(),
        no_longer.done(),
        otherwise.done(),
        sorted(suspended[1] - suspended[0]),
        sorted(suspended[0] - suspended[1]),
        sorted(differing, key=lambda c: (-c.changed, c.sender)),
    )


def fate(record: Event) -> str:
    """What became of a message in a run: one of FATES."""
    final: str = record["final"]
    if final == "relay":
        return "held" if record.get("held") else "deferred" if record.get("throttled") else "relayed"
    return {"quarantine": "quarantined", "reject": "refused"}.get(final, "expired")


def outcomes(transaction: Transaction) -> dict[str, int]:
    """What the world answered for the recipients of a transaction, by class (OUTCOMES)."""
    told = transaction.get("outcomes") or {}
    others = {other["rcpt"]: other for other in told.get("other", ())}
    found: dict[str, int] = {}
    for place in range(len(transaction["rcpt_to"])):
        other = others.get(place)
        if other is None:
            _add(found, {"delivered" if "ok_after" in told else "unknown": 1})
        else:
            code, _, text = (other.get("final") or other["reply"]).partition(" ")
            _add(found, {outcome_of(parse(int(code), text)) if code.isdigit() else "later": 1})
    if complaints := told.get("complaints"):
        found["complaint"] = len(complaints)
    return found


def _word(label: Label) -> str:
    """Mail of the owner of a stolen account is told apart: to stop it for a while may be right."""
    return "ham of a stolen account" if label.label == "ham" and label.under_attack else label.label


def _suspended(run: Run) -> set[str]:
    return {record["account"] for record in run.driver.records.values() if record.get("suspended")}


def _standing(before: bool, after: bool) -> str:
    if before and after:
        return "both"
    return "no longer" if before else "newly" if after else ""


def _add(into: dict[str, int], numbers: dict[str, int]) -> None:
    for name, number in numbers.items():
        into[name] = into.get(name, 0) + number
