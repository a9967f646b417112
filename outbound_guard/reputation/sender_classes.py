"""The class of each sender's mail, from message to message. A change is told, with its reason.

Who was in which class is remembered here, and learned from the ledger (`learn`), which hears of every change: so all
processes, and those that start anew, go on from the same class, and a sender at a boundary does not go to and fro.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from outbound_guard.ledger.records import ClassChange
from outbound_guard.reputation.classes import Circumstances, found

MOST = 50_000
"""Senders whose class is remembered; of the others the lines are those of somebody who comes anew."""
UNKNOWN = "new"
"""The class of a sender of whom nothing can be known for the moment."""


class SenderClasses:
    """One event loop uses it."""

    def __init__(self, changed: Callable[[ClassChange], None] = lambda _: None, most: int = MOST) -> None:
        """`changed` hears of everybody who is in another class than before, or is seen for the first time."""
        self._changed, self._most = changed, most
        self._known: dict[tuple[str, str], tuple[str, float]] = {}
        """Class, and since when (unix seconds), by account and sender."""

    def known(self, account: str, sender: str) -> str:
        """The class that a sender's mail had last; empty if that is not remembered."""
        return self._known.get((account, sender), ("", 0.0))[0]

    def of(
        self,
        account: str,
        sender: str,
        profile: Any,
        traffic: Any,
        suspicion: float,
        now_is: Circumstances,
        now: float,
        *,
        messages: float,
        available: bool = True,
    ) -> str:
        """The class of a message that is judged at `now` (unix seconds); the rest see `classes.class_of`.

        `available` is False while nothing can be known of the sender: then its class stays what it was.
        """
        whose = (account, sender)
        before, since = self._known.get(whose, ("", 0.0))
        if not available and not (now_is.null_sender or now_is.suspended or now_is.probation):
            return "forwarded" if now_is.kind == "forwarder" else before or UNKNOWN
        name, reason, *numbers = found(profile, traffic, suspicion, now_is, messages, before)
        # What a mailbox answers by itself says nothing about what else it sends.
        if name != before and name != "bounces" and now >= since:
            self._note(whose, name, now)
            self._changed(ClassChange(now, account, sender, name, reason.format(*numbers)))
        return str(name)

    def learn(self, changes: Iterable[tuple[str, str, str, float]]) -> None:
        """What the ledger knows: account, sender, class, and since when; what is older than what is known is not."""
        for account, sender, name, since in changes:
            if since >= self._known.get((account, sender), ("", 0.0))[1]:
                self._note((account, sender), name, since)

    def _note(self, whose: tuple[str, str], name: str, now: float) -> None:
        if len(self._known) >= self._most and whose not in self._known:
            # The half that has been here longest; whoever sends is soon here again.
            for old in list(self._known)[: self._most // 2]:
                del self._known[old]
        self._known[whose] = (name, now)
