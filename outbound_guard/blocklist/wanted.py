"""Subjects that a person wants to be asked about now, between two rounds: few at a time, and none again and again.

The questions themselves go out at the pace of all others (blocklist.asking), so that no list hears more than it may.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from outbound_guard.clock import Clock

AT_ONCE = 50
"""Subjects that may wait for their answers."""
AGAIN_SECONDS = 60.0
"""A subject is asked about at most so often on request."""


class NotNowError(Exception):
    """What is wanted is refused; the text says why in one line."""


class Wanted:
    """One event loop uses it: the pages add, the watch serves."""

    def __init__(self, ours: Collection[str], clock: Clock) -> None:
        self._ours, self._clock = frozenset(ours), clock
        self._waiting: dict[str, None] = {}
        self._asked: dict[str, float] = {}

    @property
    def waiting(self) -> tuple[str, ...]:
        """Those that are asked about now, or will be next."""
        return tuple(self._waiting)

    def fresh(self, subjects: Sequence[str]) -> tuple[str, ...]:
        """Those of these that may be added now: those that wait, or were asked about a moment ago, are left out.

        Raises NotNowError if one is none of ours, if they are too many, or if none is left.
        """
        now = self._clock.now()
        if others := [subject for subject in subjects if subject not in self._ours]:
            raise NotNowError(f"{others[0]} is none of the addresses and domains that are watched")
        fresh = [
            subject
            for subject in dict.fromkeys(subjects)
            if subject not in self._waiting and not 0 <= now - self._asked.get(subject, -1e12) < AGAIN_SECONDS
        ]
        if not fresh:
            raise NotNowError("the lists are being asked, or were asked less than a minute ago")
        if len(fresh) + len(self._waiting) > AT_ONCE:
            raise NotNowError(f"at most {AT_ONCE} can wait to be asked about, and {len(self._waiting)} do")
        return tuple(fresh)

    def add(self, subjects: Sequence[str]) -> tuple[str, ...]:
        """Have those that are `fresh` asked about; which these are. Raises NotNowError likewise."""
        fresh, now = self.fresh(subjects), self._clock.now()
        self._waiting |= dict.fromkeys(fresh)
        lately = {subject: at for subject, at in self._asked.items() if 0 <= now - at < AGAIN_SECONDS}
        self._asked = lately | dict.fromkeys(fresh, now)
        return fresh

    async def serve(self, ask: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        """Have all that wait asked about by `ask`; whatever becomes of that, they wait no longer."""
        if subjects := self.waiting:
            try:
                await ask(subjects)
            finally:
                for subject in subjects:
                    del self._waiting[subject]
