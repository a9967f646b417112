"""DECISION: signals, memory and policy become a verdict. Pure: no I/O, no clock, no surprise.

The kinds of sender, and what must not happen to each:

- a mailbox or script with a past: new behaviour counts against its own habits, so that nothing usual is touched;
- a new one: nothing is known, so nothing new says much; its first mail goes out, its volume is watched;
- a forwarder passes on what others wrote: its own suspicion is never fed by that, it is never suspended for it;
- a sender of much mail (newsletter, season peak): volume alone defers or holds and drains, it never convicts.

False positives cost a customer's trust, so steps are reversible for as long as can be: hold first (minutes), quarantine
when the evidence is strong, suspend only on evidence other than volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import msgspec

from outbound_guard.accounts.directory import Directory
from outbound_guard.config import Allow, Limit, Policy
from outbound_guard.content import Message
from outbound_guard.mail import Sender, Signal, Submission, Verdict
from outbound_guard.reputation import Evidence, Memory, Observation, recent
from outbound_guard.reputation import classes as classed
from outbound_guard.reputation.sender_classes import SenderClasses
from outbound_guard.scanners import Opinion

RELAY, DEFER, HOLD, QUARANTINE, REJECT = "relay", "defer", "hold", "quarantine", "reject"
ACTIONS = (RELAY, DEFER, HOLD, QUARANTINE, REJECT)

CLEAN, ALLOWED, SUSPENDED, LIMIT, SLICE = "clean", "allowed", "suspended", "limit", "slice"
"""Reasons that are not the name of a signal."""

_ANSWERED = frozenset(("recipients", "refusals"))
"""Signals about the list of recipients: how a slice is taken puts to the test what they say. It does not say who
writes, or what is written, so no slice goes out where one of the other signals is a suspicion by itself."""


class Judgement(msgspec.Struct, frozen=True):
    """A submission with all that was found out about it."""

    submission: Submission
    message: Message
    sender: Sender
    seen: Observation
    memory: Memory
    verdict: Verdict
    evidence: Sequence[Evidence] = ()
    """What is fresh in it, to be remembered."""
    opinions: Sequence[Opinion] = ()
    """What scanners said of it."""
    class_: str = ""
    """Of the sender, with this message: one of reputation.classes.CLASSES."""
    pool: str = ""
    """The egress pool that a person has pinned the sender to."""


class Held(msgspec.Struct, frozen=True):
    """That a message was held, and is looked at again."""

    seconds: float
    """How long ago it came in."""
    weights: Mapping[str, float] = {}
    """What each signal contributed then (nats)."""


class Circumstances(msgspec.Struct, frozen=True):
    """What a decision depends on besides the signals."""

    suspended: str = ""
    """Why this sender may not send; empty: it may."""
    allowed: str = ""
    """The allow rule or exemption that applies; empty: none."""
    over_limit: str = ""
    """The limit that is exceeded, in words; empty: none."""
    held_for: float | None = None
    """Seconds this message has been held already; None: it has just come in."""
    probation: bool = False
    """The sender or its account was resumed a short time ago."""
    slice_: str = ""
    """Why, if it is held for volume alone, it may go out with a slice (reputation/slices.py); empty: it may not."""


def decide(
    sender: Sender, signals: tuple[Signal, ...], memory: Memory, policy: Policy, now_is: Circumstances
) -> Verdict:
    """The verdict on one submission, with the arithmetic it rests on."""
    effective = [signal for signal in signals if not signal.shadow]
    score = sum([signal.weight for signal in effective])
    convicting = sum([signal.weight for signal in effective if not signal.volume])
    if now_is.suspended:
        return Verdict(QUARANTINE, score, SUSPENDED, signals, now_is.suspended)
    if now_is.allowed:
        return Verdict(RELAY, score, ALLOWED, signals, now_is.allowed)
    careful, threshold = caution(memory, policy, now_is), policy.threshold
    if convicting >= threshold.quarantine * careful:
        suspend = None
        if convicting >= threshold.suspend * careful and sender.kind != "forwarder":
            suspend = sender.name
        strongest = _strongest(effective, volume=False)
        return Verdict(QUARANTINE, score, strongest.name, signals, strongest.reason, suspend)
    if score >= threshold.hold * careful:
        strongest = _strongest(effective, volume=True)
        held_for = now_is.held_for or 0.0
        sliced = (
            now_is.held_for is not None
            and policy.hold.first_slice > 0
            and convicting < threshold.hold * careful
            and all(s.weight < threshold.watch * careful for s in effective if s.name not in _ANSWERED and not s.volume)
        )
        if sliced and now_is.slice_:
            return Verdict(RELAY, score, SLICE, signals, now_is.slice_)
        if held_for < policy.hold.longest:
            # What did not clear soon is looked at less and less often.
            wait = max(policy.hold.wait, held_for / 4)
            if sliced:
                # Sooner, since a slice may have room, and when its time is over.
                wait = min(max(policy.hold.slice_wait, held_for / 4), max(1.0, policy.hold.longest - held_for))
            return Verdict(HOLD, score, strongest.name, signals, strongest.reason, wait=wait)
        if convicting >= threshold.hold * careful:
            return Verdict(HOLD, score, strongest.name, signals, strongest.reason, wait=0.0)
        # It was only about volume, and its time is over: it drains.
    if now_is.over_limit and now_is.held_for is None:
        if policy.limit.action == "hold":
            return Verdict(HOLD, score, LIMIT, signals, now_is.over_limit, wait=policy.hold.wait)
        return Verdict(DEFER, score, LIMIT, signals, now_is.over_limit, wait=policy.defer.retry_after)
    return Verdict(RELAY, score, CLEAN, signals)


def caution(memory: Memory, policy: Policy, now_is: Circumstances) -> float:
    """What the thresholds are multiplied by.

    Every mistake that people had to correct makes us more careful; whoever is on probation has used up some of that.
    """
    corrected = float(1.0 + 0.5 * max(memory.sender.trust, memory.account.trust))
    return corrected * policy.probation.thresholds if now_is.probation else corrected


def circumstances(
    submission: Submission,
    sender: Sender,
    memory: Memory,
    directory: Directory,
    policy: Policy,
    now: float,
    held_for: float | None,
    slice_: str = "",
) -> Circumstances:
    """What people and limits say about this sender at `now` (unix seconds)."""
    standing = directory.suspended(sender.name, sender.account)
    suspended = standing.reason if standing else ""
    if not suspended and (memory.sender.suspended or memory.account.suspended):
        suspended = "suspended for abuse"  # Another process has just decided it.
    limit = directory.limit(sender.name, sender.account, policy.limit)
    account_limit = directory.account_limit(sender.account, policy.limit)
    of_sender = directory.probation("sender", sender.name, now)
    of_account = directory.probation("account", sender.account, now)
    if of_sender:
        limit = limit.within(policy.probation.limit)
    if of_account:
        account_limit = account_limit.within(policy.probation.limit)
    return Circumstances(
        suspended,
        allowed(policy.allow, sender, submission) or directory.exempt(sender.name, sender.account, now) or "",
        over_limit(memory, limit, account_limit, now),
        held_for,
        probation=bool(of_sender or of_account),
        slice_=slice_,
    )


def over_limit(memory: Memory, sender_limit: Limit, account_limit: Limit, now: float) -> str:
    """The limit that is exceeded at `now` (unix seconds), in words; empty if none is."""
    for scope, traffic, limit in (
        ("sender", memory.sender_traffic, sender_limit),
        ("account", memory.account_traffic, account_limit),
    ):
        for window, what, most in limit.in_force():
            if (sent := recent(traffic, window, what, now)) > most:
                return f"rate limit of this {scope}: {sent:.0f} of {most} {what} in a {window}"
    return ""


def class_now(
    classes: SenderClasses,
    submission: Submission,
    sender: Sender,
    memory: Memory,
    verdict: Verdict,
    now_is: Circumstances,
    policy: Policy,
    now: float,
) -> str:
    """The class of the sender with this message, by which its pool is chosen (reputation/classes.py)."""
    # Volume alone makes nobody doubtful: who sends much comes into the class of those who do.
    suspicion = sum([s.weight for s in verdict.signals if not (s.shadow or s.volume)])
    of_account = memory.keeps == "account"
    return classes.of(
        sender.account,
        sender.name,
        memory.sender,
        memory.account_traffic if of_account else memory.sender_traffic,
        suspicion,
        classed.Circumstances(
            suspended=now_is.suspended,
            probation=now_is.probation,
            kind=sender.kind,
            null_sender=not submission.envelope.mail_from,
            watch=policy.threshold.watch,
        ),
        now,
        messages=memory.account.messages if of_account else memory.sender.messages,
        available=memory.available,
    )


def allowed(rules: tuple[Allow, ...], sender: Sender, submission: Submission) -> str:
    """The first allow rule that covers this submission, in words; empty if none does."""
    if not rules:
        return ""
    today = datetime.fromtimestamp(submission.received, UTC).date().isoformat()
    for rule in rules:
        conditions = (
            (rule.account, sender.account),
            (rule.sender, sender.name),
            (rule.server, submission.server or ""),
            (rule.mail_from, submission.envelope.mail_from.lower()),
        )
        if today <= rule.until and all(fnmatchcase(value, pattern) for pattern, value in conditions if pattern):
            return f"{rule.reason} (until {rule.until})"
    return ""


def _strongest(signals: list[Signal], *, volume: bool) -> Signal:
    return max((s for s in signals if volume or not s.volume), key=lambda s: s.weight)
