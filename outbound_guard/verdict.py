"""DECISION: signals, memory and policy become a verdict. Pure: no I/O, no clock, no surprise.

The kinds of sender, and what must not happen to each:

- a mailbox or script with a past: new behaviour counts against its own habits, so that nothing usual is touched;
- a new one: nothing is known, so nothing new says much; its first mail goes out, its volume is watched;
- a forwarder passes on what others wrote: its own suspicion is never fed by that, it is never suspended for it;
- a sender of much mail (newsletter, season peak): volume alone defers or holds and drains, it never convicts;
- one whose first mailing reads like spam: the text, the company on its server and new recipients are all that is said
  against it. It is held, and its recipients are asked: a few copies go out, and what they answer decides.

False positives cost a customer's trust, so steps are reversible for as long as can be: hold first (minutes), quarantine
when the evidence is strong, suspend only on evidence other than volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from outbound_guard.accounts.directory import Directory
from outbound_guard.config import Allow, Limit, Policy
from outbound_guard.content import Message
from outbound_guard.mail import Sender, Signal, Submission, Verdict
from outbound_guard.reputation import Evidence, Memory, Observation, recent
from outbound_guard.reputation import classes as classed
from outbound_guard.reputation.memory import counts_at
from outbound_guard.reputation.sender_classes import SenderClasses
from outbound_guard.scanners import Opinion

RELAY, DEFER, HOLD, QUARANTINE, REJECT = "relay", "defer", "hold", "quarantine", "reject"
ACTIONS = (RELAY, DEFER, HOLD, QUARANTINE, REJECT)

CLEAN, ALLOWED, SUSPENDED, LIMIT, SLICE = "clean", "allowed", "suspended", "limit", "slice"
"""Reasons that are not the name of a signal."""

_ANSWERED = frozenset(("recipients", "refusals"))
"""Signals about the list of recipients: how a slice is taken puts to the test what they say. It does not say who
writes, or what is written, so no slice goes out where one of the other signals is a suspicion by itself."""
_UNPROVEN = _ANSWERED | {"content", "neighbours"}
"""Signals that say what a mailing is like, not what its sender has done. The model is wrong about some wanted mailings
whole, and that others on the server are suspects (of whom is asked because of the text) is no second proof. So where
nothing else speaks, good answers may outweigh them."""
_ELSEWHERE = frozenset(("clients", "copies", "manner", "software"))
"""What a mailing from a place, or by a program, that is new to its sender says besides: its owner is travelling or has
a new tool, or somebody else has the password. Where neither the text nor the company speaks against it, the recipients
may say which it is."""
_NOVELTY = _ELSEWHERE | {"from_address", "recipients"}
"""What is new about a mailbox. Most logins that are used in a new way are so by their owners: by that alone mail is
held, and nobody suspended, unless it comes from more networks than one traveller can."""
_PLAIN = 1.25
"""Nats of a text, all its copies together, from which on it speaks against a mailing."""
_TRAVELLING = 3
"""Networks within two hours that a traveller may come from; more is a botnet."""
_NOTHING_ELSE = 0.5
"""What part of a suspicion (`watch`) all other signals may say together for that. Not none: of a sender that began
this morning everything is still new."""
_COPIES, _READERS = 3, 10
"""Copies of a text, or recipients of one, from which on it is a mailing."""
_LIST_FIELDS = ("list-unsubscribe", "list-id")
"""RFC 2369 3.2, RFC 2919: a program that mails a list says so in one of these, as large receivers ask for. A form that
visitors fill in, and is made to write to strangers, does not."""


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
    """Why, if answers can clear it, it may go out with a slice (reputation/slices.py); empty: it may not."""
    mailing: bool = False
    """It may be one of many copies, so that answers to some say something of the others (`is_mailing`)."""
    filled_in: bool = False
    """It is one of several that are nearly the same, as a tool writes them (`is_filled_in`)."""


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
    doubt = in_doubt(sender, signals, memory, policy, now_is) if score >= threshold.hold * careful else None
    if convicting >= threshold.quarantine * careful and doubt is None:
        convicted = convicting >= threshold.suspend * careful and may_suspend(sender, effective, memory, policy)
        suspend = sender.name if convicted else None
        strongest = _strongest(effective, volume=False)
        return Verdict(QUARANTINE, score, strongest.name, signals, strongest.reason, suspend)
    if score >= threshold.hold * careful:
        strongest = _strongest(effective, volume=True)
        held_for = now_is.held_for or 0.0
        sliced = doubt is not None and now_is.held_for is not None
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


def in_doubt(
    sender: Sender, signals: tuple[Signal, ...], memory: Memory, policy: Policy, now_is: Circumstances
) -> float | None:
    """What good answers have to outweigh before mail goes out in slices (nats); None: no answers can clear it.

    0: it is about volume alone. More: the text speaks against it, the company, the list, and nothing else.
    """
    if not policy.hold.first_slice:
        return None
    others = [signal for signal in signals if not (signal.shadow or signal.volume)]
    convicting, threshold = sum([signal.weight for signal in others]), policy.threshold
    careful = caution(memory, policy, now_is)
    suspicion = threshold.watch * careful
    if convicting < threshold.hold * careful and all(s.weight < suspicion for s in others if s.name not in _ANSWERED):
        return 0.0
    travels = _may_travel(others, memory)
    if now_is.probation or not (now_is.mailing or (travels and now_is.filled_in)):
        return None  # A second chance was given already, or answers to others say nothing of it.
    unproven = _UNPROVEN | _ELSEWHERE if travels else _UNPROVEN
    refused = max([signal.weight for signal in others if signal.name == "refusals"], default=0.0)
    clear = _beside(others, unproven) < _NOTHING_ELSE * suspicion and refused < suspicion
    return max(convicting, suspicion) if clear else None


def may_suspend(sender: Sender, signals: Sequence[Signal], memory: Memory, policy: Policy) -> bool:
    """True if what speaks against a sender may suspend it: of a mailbox more than that its login is used in a new way.

    `signals` are those not in shadow.
    """
    if sender.kind != "mailbox":
        return sender.kind != "forwarder"
    return memory.networks > _TRAVELLING or _beside(signals, _NOVELTY) >= _NOTHING_ELSE * policy.threshold.watch


def _beside(signals: Sequence[Signal], names: frozenset[str]) -> float:
    """What speaks against a sender beside the signals of these names, volume left out (nats)."""
    return sum([max(0.0, s.weight) for s in signals if s.name not in names and not s.volume])


def _may_travel(signals: Sequence[Signal], memory: Memory) -> bool:
    text, company = (sum([s.weight for s in signals if s.name == name]) for name in ("content", "neighbours"))
    return text < _PLAIN and company <= 0 and memory.networks <= _TRAVELLING


def is_mailing(sender: Sender, message: Message, memory: Memory, *, held: bool) -> bool:
    """True if a message may be one of many copies. Of a person's that has just come in it is too early to tell."""
    if sender.kind == "mailbox":
        times = memory.campaign.times if memory.campaign else 0
        return not held or memory.recipients >= _READERS or times >= _COPIES
    return sender.kind != "forwarder" and any(message.headers.get(field) for field in _LIST_FIELDS)


def is_filled_in(sender: Sender, message: Message, memory: Memory) -> bool:
    """True if a mailbox's text is nearly the same for the third time: a tool fills in a name and a number.

    What reads like spam is reworded to look new, so that counts only where the text does not speak against the sender.
    And not where it leads its readers elsewhere: that they exist, which is what they are asked, is no excuse for that.
    """
    near = memory.near
    return sender.kind == "mailbox" and near is not None and near.times >= _COPIES and not message.links_elsewhere


def caution(memory: Memory, policy: Policy, now_is: Circumstances) -> float:
    """What the thresholds are multiplied by.

    Every mistake that people had to correct makes us more careful; whoever is on probation has used up some of that.
    """
    corrected = float(1.0 + 0.5 * max(memory.sender.trust, memory.account.trust))
    return corrected * policy.probation.thresholds if now_is.probation else corrected


def circumstances(
    submission: Submission,
    message: Message,
    sender: Sender,
    memory: Memory,
    directory: Directory,
    policy: Policy,
    now: float,
    held_for: float | None,
) -> Circumstances:
    """What people and limits say about this sender at `now` (unix seconds), and what kind of message it is."""
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
        mailing=is_mailing(sender, message, memory, held=held_for is not None),
        filled_in=is_filled_in(sender, message, memory),
    )


def over_limit(memory: Memory, sender_limit: Limit, account_limit: Limit, now: float) -> str:
    """The limit that is exceeded at `now` (unix seconds), in words; empty if none is."""
    for scope, traffic, limit in (
        ("sender", memory.sender_traffic, sender_limit),
        ("account", memory.account_traffic, account_limit),
    ):
        for current, before, window, what, most in _in_force(limit):
            if traffic[current] + traffic[before] > most and (sent := recent(traffic, window, what, now)) > most:
                return f"rate limit of this {scope}: {sent:.0f} of {most} {what} in a {window}"
    return ""


@lru_cache(1024)
def _in_force(limit: Limit) -> tuple[tuple[int, int, str, str, int], ...]:
    """`limit.in_force()`, each with where the counts stand that cannot be more than the limit if their sum is not."""
    return tuple((*counts_at(window, what), window, what, most) for window, what, most in limit.in_force())


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
    asked = signals if volume else [signal for signal in signals if not signal.volume]
    weights = [signal.weight for signal in asked]
    return asked[weights.index(max(weights))]
