"""First slices of what only answers can clear: a few messages go out, and the answers say whether the rest may.

Mail that is held for its volume, and that nothing else would hold, drains after some hours, wanted or not (verdict.py
says which mail that is). Its recipients know sooner. Of a bought list one address in five is gone, of an own one in
fifty (`bad_list`, `own_list` in signals/refusals.py): an unknown recipient weighs log(0.20 / 0.02) = 2.3 nats for a
bought list, one that takes the mail log(0.98 / 0.80) = 0.2 nats against it. The sum of these since the first slice is a
sequential test with two bounds (Wald 1945):

- at or below -SURE the list is taken for a bad one, and nothing more goes out; of good lists that happens to 5 %;
- in between a further first slice goes out. A message to a single recipient says little, so a thief's can be several;
- at or above SURE (some 15 good answers more than the bad ones outweigh) it is taken for a good one: so many recipients
  may have been let out as have answered, times `slice_growth`, or a further first slice if that is more. As in TCP's
  slow start, all is out in a few slices.

Where not the volume but the text speaks against a mailing, and the company, and nothing else (verdict.py), the same
test is stricter: good answers must outweigh what speaks against it, not only SURE; and of a mailbox only answers of
recipients that it never wrote to count, since a thief's first choice are the owner's friends, who exist.

Between two slices lie `slice_wait` seconds, and half of what was let out must be answered. What went out is counted in
the process that looks at held mail, which alone decides about it; a restart begins anew.

Who has a good list, or none, passes: a newsletter, a shop in its season, the first mailing of a new customer, but also
a thief who writes as the owner does to people who exist. Nothing speaks against that thief but the volume, and without
slices all of it would go out after `longest`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from outbound_guard.config import Hold
from outbound_guard.mail import Sender
from outbound_guard.reputation.memory import Memory

GOOD, BAD = 0.2, 2.3
"""Nats that an answer weighs, for and against the list."""
SURE = 3.0
"""Nats from which on the list is taken for a good or a bad one: odds of twenty to one."""
SLOW = 2.0
"""What `slice_growth` is at most where the text speaks against a mailing."""
RECIPIENTS = 100
"""Recipients of a first slice; a single message can have a thousand."""
_HALF_LIFE = 604_800.0
"""Seconds in which the counts of answers lose half, as in learn.lua."""
_NEW = 0.5
"""Share of new recipients from which on only answers of new ones count: that the others exist was known."""
_SENDERS = 10_000
"""Senders whose slices are remembered at a time."""


class _Trial(msgspec.Struct):
    """What was let out of one sender's held mail."""

    began: Any
    """Its profile when the first slice began."""
    slice_at: float
    """When the present slice began, and `last` when something was let out (unix seconds)."""
    last: float
    messages: int = 0
    recipients: int = 0
    most_messages: int = 0
    """So many messages, to so many recipients, may have gone out by the end of the present slice."""
    most_recipients: int = 0
    earned_recipients: float = 0.0
    """Or so many recipients in however many messages, where the list is taken for a good one."""


class Slices:
    """What may go out of held mail, by sender. `hold`: the policy's settings."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self._trials: dict[tuple[str, str], _Trial] = {}

    def room(self, sender: Sender, memory: Memory, recipients: int, now: float, against: float = 0.0) -> str:
        """Why a held message to so many recipients may go out at `now` (unix seconds), in words; empty: it may not.

        `against`: nats that speak against it beside its volume, which good answers have to outweigh.
        """
        if not self.hold.first_slice or not memory.available:
            return ""
        trial = self._trial(sender, memory, now)
        strangers = against > 0 and sender.kind == "mailbox"
        good, bad = _answers(trial.began, memory, strangers)
        said, enough = GOOD * good - BAD * bad, max(SURE, against)
        if said <= -SURE:
            return ""
        if said < enough and (trial.earned_recipients or (strangers and memory.new_share < _NEW)):
            return ""  # What is good enough for volume, or for those who are known, is not for this.
        answered = good + bad
        if now - trial.slice_at >= self.hold.slice_wait and answered * 2 >= trial.recipients:
            trial.slice_at = now
            trial.most_messages = trial.messages + self.hold.first_slice
            trial.most_recipients = trial.recipients + RECIPIENTS
            if said >= enough:
                growth = min(self.hold.slice_growth, SLOW) if against > 0 else self.hold.slice_growth
                trial.earned_recipients = growth * answered
        out = trial.recipients + recipients
        further = trial.messages < trial.most_messages and out <= trial.most_recipients
        if not further and out > trial.earned_recipients:
            return ""
        why = "held for its text or company alone" if against > 0 else "held for its volume alone"
        if not trial.messages:
            return f"{why}: a few messages go out to see what their recipients answer"
        return (
            f"{why}: {trial.messages} messages to {trial.recipients} recipients were let out, "
            f"and of {answered:.0f} answers since {good:.0f} were good"
        )

    def let_out(self, sender: Sender, memory: Memory, recipients: int, now: float) -> None:
        """Count a message that had room and goes out at `now` (unix seconds)."""
        trial = self._trial(sender, memory, now)
        trial.messages += 1
        trial.recipients += recipients
        trial.last = now
        # The last of the table, whose first ones have let out nothing for longest.
        who = (sender.account, sender.name)
        self._trials.pop(who, None)
        self._trials[who] = trial
        if len(self._trials) > _SENDERS:
            del self._trials[next(iter(self._trials))]

    def _trial(self, sender: Sender, memory: Memory, now: float) -> _Trial:
        """The sender's, as long as it goes on; else a new one."""
        trial = self._trials.get((sender.account, sender.name))
        if trial is not None and now - trial.last <= self.hold.longest:
            return trial
        return _Trial(memory.sender, now, now, 0, 0, self.hold.first_slice, RECIPIENTS)


def _answers(began: Any, memory: Memory, strangers: bool) -> tuple[float, float]:
    """Good and bad answers since the profile was `began`; `strangers`: good ones of new recipients only."""
    record = memory.sender
    faded = 0.5 ** (max(0.0, record.outcomes_at - began.outcomes_at) / _HALF_LIFE)

    def since(*outcomes: str) -> float:
        numbers = [float(getattr(record, outcome) - getattr(began, outcome) * faded) for outcome in outcomes]
        return sum([max(0.0, number) for number in numbers])

    good = since("reached" if strangers or memory.new_share >= _NEW else "delivered")
    return good, since("unknown_user", "refused", "complaint")
