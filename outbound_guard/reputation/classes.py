"""The class of a sender or account: a word for how far it can be trusted, with the reason in a sentence. Pure.

The classes, the first that fits:

- suspended: a suspension is in force;
- bounces: the null sender: reports of mail servers, which nobody here has written;
- forwarded: it passes on what others wrote, so what it sends says little about it;
- doubtful: on probation, under suspicion, or the world has refused too much of its mail of late;
- new: too little of it is known to say more;
- bulk: it sends much mail, or to many at a time, and calmly so: newsletters, shops;
- trusted: known for long enough, and the world takes what it sends;
- normal: everybody else.

Whoever was wronged by us (people had to correct a verdict) is not doubtful for suspicion alone as soon as others are.
The way back is the same road: suspicion halves every two days, answers every week, probation ends by itself. Whoever is
in a class stays there until it is well beyond the line, so that nobody goes to and fro at a boundary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

CLASSES = ("suspended", "bounces", "forwarded", "doubtful", "new", "bulk", "trusted", "normal")

KNOWN = 20.0
"""Calm messages after which a sender is no stranger any more (the same number as in memory.py)."""
_BULK_DAY = 1_000.0
"""Recipients of its highest calm day from which on mail is bulk."""
_BULK_MESSAGE = 20.0
"""Recipients of the average message of two days, likewise, if a calm day has some hundreds."""
_BULK_DAY_AT_ONCE = 200.0
_TRUSTED = 200.0
"""Calm messages, and half as many deliveries of late, from which on somebody may be trusted."""
_ANSWERS = 20.0
"""Answers of the world from which on their shares say something."""
_BAD, _GOOD = 0.10, 0.01
"""Shares of refused mail and unknown recipients among the answers: doubtful from, trusted up to."""
_STAY = 0.7
"""The lines of the class that somebody is in are lower by this factor than those that lead into it."""


class Class(msgspec.Struct, frozen=True):
    """A class and its reason."""

    name: str
    """One of CLASSES."""
    reason: str
    """A sentence with its numbers."""


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What people and the policy say about a sender."""

    suspended: str = ""
    """Why it may not send; empty: it may."""
    probation: bool = False
    kind: str = ""
    """Of the sender (mail.Sender.kind); empty for accounts."""
    null_sender: bool = False
    """Of a message: MAIL FROM is empty."""
    watch: float = 3.0
    """Suspicion (nats) from which on a sender is watched: `threshold.watch` of the policy."""


def class_of(
    profile: Any,
    traffic: Any,
    suspicion: float,
    now_is: Circumstances,
    *,
    messages: float | None = None,
    before: str = "",
) -> Class:
    """The class of whoever has this `profile` and `traffic` (memory.py) and this suspicion (nats, decayed to now).

    `messages`: the calm messages it is known by, if another keeps its habits. `before`: the class it had; whoever is in
    a class stays in it until well beyond the line, so that nobody goes to and fro.
    """
    name, reason, *numbers = found(profile, traffic, suspicion, now_is, messages, before)
    return Class(name, reason.format(*numbers))


def found(
    profile: Any, traffic: Any, suspicion: float, now_is: Circumstances, messages: float | None, before: str
) -> tuple[Any, ...]:
    """The same as name, form of the reason and what goes into it: for every message, and few are asked why."""
    if now_is.suspended or profile.suspended:
        return "suspended", "A suspension is in force: {}.", now_is.suspended or "for abuse"
    if now_is.null_sender:
        return "bounces", "The null sender: a report of a mail server."
    if now_is.kind == "forwarder":
        return "forwarded", "It passes on what others wrote."
    if now_is.probation:
        return "doubtful", "It is on probation after a suspension."
    doubted = before == "doubtful"
    watched = now_is.watch * (1.0 + 0.5 * profile.trust) * (_STAY if doubted else 1.0)
    if suspicion >= watched:
        return "doubtful", "Its suspicion is {:.1f}; from {:.1f} on a sender is doubtful.", suspicion, watched
    bad = profile.unknown_user + profile.refused + profile.complaint
    answers = profile.delivered + bad
    share = bad / answers if answers else 0.0
    if answers >= _ANSWERS and share >= _BAD * (_STAY if doubted else 1.0):
        return "doubtful", "Of some {:.0f} answers of late, {:.0%} were refusals or complaints.", answers, share
    if messages is None:
        messages = profile.messages
    if messages < KNOWN:
        return "new", "{:.0f} calm messages are known of it; it is new up to {:.0f}.", messages, KNOWN
    stay = _STAY if before == "bulk" else 1.0
    if traffic.day_peak >= _BULK_DAY * stay:
        bulk_day = _BULK_DAY * stay
        return "bulk", "Its highest calm day had {:.0f} recipients; bulk begins at {:.0f}.", traffic.day_peak, bulk_day
    if traffic.day_peak >= _BULK_DAY_AT_ONCE * stay:
        each = (traffic.day_recipients + traffic.day_before_recipients) / max(
            1.0, traffic.day_messages + traffic.day_before_messages
        )
        if each >= _BULK_MESSAGE * stay:
            bulk_message = _BULK_MESSAGE * stay
            return (
                "bulk",
                "Its average message of late goes to {:.0f} recipients; bulk begins at {:.0f}.",
                each,
                bulk_message,
            )
    stay = _STAY if before == "trusted" else 1.0
    if messages >= _TRUSTED and profile.delivered >= _TRUSTED / 2 * stay and share <= _GOOD / stay:
        return "trusted", "{:.0f} calm messages are known, and of late {:.1%} of its mail was refused.", messages, share
    return "normal", "{:.0f} calm messages are known of it, and nothing else stands out.", messages


WAYS = {
    "suspended": "Its mail is taken again when the suspension ends or a person resumes it; it is then on probation.",
    "bounces": "Reports with the null sender always go this way; they say nothing of the sender's other mail.",
    "forwarded": "It stays here as long as it passes on the mail of others.",
    "doubtful": "The way back: probation ends by itself, suspicion halves every two days, what the world refused "
    "counts half after a week. It leaves this class when both are well below the lines at which it came in.",
    "new": f"It leaves this class when {KNOWN:.0f} calm messages of it are known.",
    "bulk": "It leaves this class when its highest days have become smaller: a record day fades with time.",
    "trusted": "It loses this class when more of its mail is refused, or comes under suspicion.",
    "normal": f"It becomes trusted with {_TRUSTED:.0f} calm messages, {_TRUSTED / 2:.0f} of them delivered of late, "
    f"if at most {_GOOD:.0%} are refused.",
}
"""Of each class, in a sentence: what leads out of it."""


def together(profiles: Iterable[Any], own: Any) -> Any:
    """The profile of an account as a whole: its `own`, which has the habits of its scripts, and its senders'."""
    summed = ("messages", "delivered", "unknown_user", "refused", "complaint")
    senders = list(profiles)
    fields = {name: getattr(own, name) + sum(getattr(one, name) for one in senders) for name in summed}
    # The trust of one mailbox says nothing about the others.
    return own._replace(**fields)
