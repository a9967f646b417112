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
The way back is the same road: suspicion halves every two days, answers every week, probation ends by itself.
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


def class_of(profile: Any, traffic: Any, suspicion: float, now_is: Circumstances) -> Class:
    """The class of whoever has this `profile` and `traffic` (memory.py) and this suspicion (nats, decayed to now)."""
    if now_is.suspended or profile.suspended:
        return Class("suspended", f"A suspension is in force: {now_is.suspended or 'for abuse'}.")
    if now_is.null_sender:
        return Class("bounces", "The null sender: a report of a mail server.")
    if now_is.kind == "forwarder":
        return Class("forwarded", "It passes on what others wrote.")
    if now_is.probation:
        return Class("doubtful", "It is on probation after a suspension.")
    watched = now_is.watch * (1.0 + 0.5 * profile.trust)
    if suspicion >= watched:
        return Class("doubtful", f"Its suspicion is {suspicion:.1f}; from {watched:.1f} on a sender is doubtful.")
    bad = profile.unknown_user + profile.refused + profile.complaint
    answers = profile.delivered + bad
    share = bad / answers if answers else 0.0
    if answers >= _ANSWERS and share >= _BAD:
        return Class("doubtful", f"Of some {answers:.0f} answers of late, {share:.0%} were refusals or complaints.")
    if profile.messages < KNOWN:
        return Class("new", f"{profile.messages:.0f} calm messages are known of it; it is new up to {KNOWN:.0f}.")
    each = (traffic.day_recipients + traffic.day_before_recipients) / max(
        1.0, traffic.day_messages + traffic.day_before_messages
    )
    if traffic.day_peak >= _BULK_DAY:
        return Class(
            "bulk", f"Its highest calm day had {traffic.day_peak:.0f} recipients; bulk begins at {_BULK_DAY:.0f}."
        )
    if each >= _BULK_MESSAGE and traffic.day_peak >= _BULK_DAY_AT_ONCE:
        return Class(
            "bulk", f"Its average message of late goes to {each:.0f} recipients; bulk begins at {_BULK_MESSAGE:.0f}."
        )
    if profile.messages >= _TRUSTED and profile.delivered >= _TRUSTED / 2 and share <= _GOOD:
        return Class(
            "trusted",
            f"{profile.messages:.0f} calm messages are known, and of late {share:.1%} of its mail was refused.",
        )
    return Class("normal", f"{profile.messages:.0f} calm messages are known of it, and nothing else stands out.")


def together(profiles: Iterable[Any], own: Any) -> Any:
    """The profile of an account as a whole: its `own`, which has the habits of its scripts, and its senders'."""
    summed = ("messages", "delivered", "unknown_user", "refused", "complaint")
    senders = list(profiles)
    fields = {name: getattr(own, name) + sum(getattr(one, name) for one in senders) for name in summed}
    # The trust of one mailbox says nothing about the others.
    return own._replace(**fields)
