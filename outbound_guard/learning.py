"""What judgements and the world's answers teach: it goes into the memory, written behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outbound_guard.config import Policy
from outbound_guard.delivery.classes import outcomes_of
from outbound_guard.mail import Sender
from outbound_guard.reply import Reply
from outbound_guard.reputation import Outcomes, Reputation
from outbound_guard.signals import Panel, copies
from outbound_guard.verdict import DEFER, RELAY, Judgement


class Learning:
    """Remembers. Nothing here waits."""

    def __init__(self, reputation: Reputation, panel: Panel, policy: Policy, *, observe: bool) -> None:
        """`observe`: evidence and habits are learned, but nobody is suspended."""
        self._reputation, self._panel, self._policy, self._observe = reputation, panel, policy, observe

    def judged(self, judgement: Judgement, answers: Sequence[Reply] = ()) -> None:
        """Remember what a judgement found, and what the world answered already."""
        verdict, sender, memory = judgement.verdict, judgement.sender, judgement.memory
        if not memory.available:
            return
        suspicious = verdict.score >= self._policy.threshold.watch
        outcomes = _of_new_recipients(outcomes_of(answers), memory.new_share)
        # What a forwarder passes on was written by others: it is no evidence against it.
        fresh = judgement.evidence if sender.kind != "forwarder" else ()
        self._reputation.learn(
            judgement.seen,
            memory,
            [*fresh, *self._panel.answered(sender, outcomes, memory.sender)],
            # Only what went out without suspicion may become a habit.
            habit=verdict.action == RELAY and not suspicious,
            went_out=verdict.action == RELAY,
            # What is repeated from a place that is new to it is no habit of the owner's.
            copy=(
                memory.campaign is not None and memory.campaign.times > copies.TWICE and not memory.is_new("network")
            ),
            suspend="sender" if verdict.suspend and not self._observe else "",
            suspicious=suspicious,
            uncount=verdict.action == DEFER and not self._observe,
            outcomes=outcomes,
        )

    def answered(self, sender: Sender, profile: Any, now: float, answers: Sequence[Reply], *, new: float = 1.0) -> None:
        """Remember what the world answered at `now` (unix seconds).

        It is weighed against the sender's `profile` (reputation.Memory.sender). `new`: the share of the recipients that
        the sender had never written to.
        """
        self._outcomes(sender, profile, now, _of_new_recipients(outcomes_of(answers), new))

    def complained(self, sender: Sender, profile: Any, now: float) -> None:
        """Remember that a recipient has complained."""
        self._outcomes(sender, profile, now, [("complaint", 1)])

    def _outcomes(self, sender: Sender, profile: Any, now: float, outcomes: Outcomes) -> None:
        self._reputation.outcome(sender, now, outcomes, self._panel.answered(sender, outcomes, profile))


def _of_new_recipients(outcomes: Outcomes, share: float) -> Outcomes:
    """The outcomes, with those that speak of the list of addresses as far as the recipients were new.

    Who always writes to the owner of a site has no good list for it, nor a bad one because an old customer is gone.
    """
    counted = []
    for outcome, recipients in outcomes:
        if outcome == "delivered":
            if reached := round(recipients * share):
                counted.append(("reached", reached))
        elif outcome == "unknown_user":
            recipients = round(recipients * share)
        if recipients:
            counted.append((outcome, recipients))
    return counted
