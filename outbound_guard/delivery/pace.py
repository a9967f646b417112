"""How fast a receiver is sent to: as fast as mail comes, until it says that this is too fast.

Receivers with words of their own for it are answered by the rules of pace.toml. To any other temporary answer about a
rate we halve what goes there at a time and double the time between two messages; after a while without such an answer
it is the other way round, until there is no limit any more.
"""

from __future__ import annotations

import functools
import logging
import math
from collections import deque
from collections.abc import Iterable
from importlib import resources

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config.reading import Table, convert, read
from outbound_guard.delivery.answers import meaning_of
from outbound_guard.delivery.phrases import Phrase, any_of, fold, phrase
from outbound_guard.delivery.turn import FINE, ONE, Outlook
from outbound_guard.reply import Reply

EASING = 300.0
"""Seconds without a complaint after which half of a general limit goes."""
LONGEST = 60.0
"""Seconds between two messages, at most, by general complaints."""
_LATEST = 3600.0
"""Seconds after which a message that is told to come back may come at the latest."""
_HOUR = 3600.0
_BUSY_SECONDS = 0.25
"""After so many it is worth looking whether a message to the same receiver, by another domain, has ended."""

_log = logging.getLogger(__name__)


class Rule(Table, frozen=True):
    """One kind of answer, and what is done about it; pace.toml says what the settings mean."""

    name: str
    says: tuple[str, ...]
    pause: float = 0.0
    per_minute: float = 0.0
    connections: int = 0
    lasting: float = 0.0
    matches: int = 1


class _File(Table, frozen=True):
    rule: tuple[Rule, ...] = ()


class _Ready(msgspec.Struct, frozen=True):
    rule: Rule
    says: tuple[Phrase, ...]


@functools.cache
def _rules() -> tuple[_Ready, ...]:
    with resources.as_file(resources.files("outbound_guard.delivery") / "pace.toml") as path:
        file = convert(path, read(path), _File)
    return tuple(_Ready(rule, tuple(map(phrase, rule.says))) for rule in file.rule)


class Pace:
    """The pace towards one receiver."""

    def __init__(self, site: str, clock: Clock) -> None:
        self.site = site
        self.busy = 0
        """Messages under way."""
        self._clock = clock
        self._limit = 0
        self._interval = 0.0
        self._paused = self._eases = self._next = self._promised = 0.0
        self._slowed = -math.inf
        self._doubtful = False
        """True from a pause on until a message is accepted."""
        self._matches: dict[str, deque[float]] = {}

    @property
    def free(self) -> bool:
        """True if nothing is known of it that would have to be kept."""
        now = self._clock.now()
        if self._eases and now >= self._eases:
            # Nobody may write there any more, who would find out that it is over.
            self._ease(now)
        return not (self.busy or self._limit or self._interval or self._matches) and self._paused <= now

    def outlook(self) -> Outlook:
        """What the receiver would take now. The first message after a pause finds out alone whether it was enough."""
        now = self._clock.now()
        if self._eases and now >= self._eases:
            self._ease(now)
        if (wait := max(self._paused, self._next) - now) > 0:
            return Outlook(wait)
        if self._limit and self.busy >= self._limit:
            return Outlook(_BUSY_SECONDS)
        return ONE if self._interval or self._doubtful else Outlook(most=self._limit) if self._limit else FINE

    def enter(self) -> float:
        """0: a message may go now, and `leave` follows; else the seconds after which it may ask again."""
        now = self._clock.now()
        if self._eases and now >= self._eases:
            self._ease(now)
        if now < self._paused:
            # Those who wait do not come back all at once.
            return self._promise(self._paused, now)
        if now < self._next or (self._limit and self.busy >= self._limit):
            return self._promise(max(self._next, now), now)
        self._next = now + self._interval
        self.busy += 1
        return 0.0

    def leave(self, replies: Iterable[Reply]) -> None:
        """A message is through, or has failed; `replies` is what was said."""
        busy, self.busy = self.busy, self.busy - 1
        # Most of what many recipients are answered is the same.
        said = set(replies)
        if self._doubtful and any(reply.accepted for reply in said):
            self._doubtful = False
        for reply in {reply for reply in said if not reply.accepted}:
            # Of our own words one hands on what a receiver says, to all the addresses that we have.
            if reply.text.startswith("OG-") and not reply.text.startswith("OG-LISTED"):
                continue
            if (rule := self._rule(reply)) is not None:
                self._obey(rule)
            elif reply.temporary and meaning_of(reply).coarse == "rate":
                self._slow_down(busy)

    def _rule(self, reply: Reply) -> Rule | None:
        text = fold(f"{reply.code} {reply.enhanced} {reply.text}")
        return next((ready.rule for ready in _rules() if any_of(ready.says, text)), None)

    def _obey(self, rule: Rule) -> None:
        now = self._clock.now()
        seen = self._matches.setdefault(rule.name, deque(maxlen=rule.matches))
        seen.append(now)
        self._eases = max(self._eases, now + (rule.lasting or _HOUR))
        if len(seen) < rule.matches or not 0 <= now - seen[0] <= _HOUR:
            return
        if rule.pause and self._paused < now + rule.pause / 2:
            self._paused = now + rule.pause
            self._doubtful = True
            _log.warning("%s: %s: nothing is sent there for %.0f s", self.site, rule.name, rule.pause)
        if rule.per_minute:
            self._interval = max(self._interval, 60.0 / rule.per_minute)
        if rule.connections:
            self._limit = min(self._limit or rule.connections, rule.connections)
        if rule.per_minute or rule.connections:
            _log.warning("%s: %s: we go on more slowly", self.site, rule.name)

    def _slow_down(self, busy: int) -> None:
        now = self._clock.now()
        if 0 <= now - self._slowed < 1.0:
            return  # What is answered together is one complaint.
        self._slowed = now
        self._limit = max(1, min(self._limit or busy, busy) // 2)
        self._interval = min(LONGEST, max(0.5, 2 * self._interval))
        self._eases = max(self._eases, now + EASING)
        _log.info("%s slows us down: %d at a time, %.1f s between", self.site, self._limit, self._interval)

    def _ease(self, now: float) -> None:
        self._eases = now + EASING
        self._interval = self._interval / 2 if self._interval > 1.0 else 0.0
        self._limit = self._limit * 2 if self._limit and self._interval else 0
        self._matches = {name: seen for name, seen in self._matches.items() if now - seen[-1] < _HOUR}
        if not (self._interval or self._limit or self._matches):
            self._eases = 0.0

    def _promise(self, start: float, now: float) -> float:
        """Each who is turned away is told a moment of its own."""
        spacing = max(self._interval, 1.0)
        if self._promised < start:
            self._promised = start
        self._promised += spacing
        if self._promised - start > _LATEST:
            self._promised = start + spacing
        return self._promised - now
