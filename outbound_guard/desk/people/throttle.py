"""How long somebody who fails again and again has to wait: longer each time. Kept in memory, and bounded."""

from __future__ import annotations

import msgspec

from outbound_guard.clock import Clock

KEPT = 10_000
"""Keys at most; beyond that the one that failed longest ago is forgotten."""
FORGOTTEN = 3600.0
"""Seconds without a failure until earlier ones no longer count."""


class _Tries(msgspec.Struct):
    count: int
    last: float


class Throttle:
    """Failures by key: some are free, then each doubles the time until the next try."""

    def __init__(self, clock: Clock, *, free: int, longest: float) -> None:
        """`free`: failures without a wait. `longest`: seconds that nobody has to wait more than."""
        self._clock = clock
        self._free, self._longest = free, longest
        self._tries: dict[str, _Tries] = {}

    def wait(self, key: str) -> float:
        """Seconds until the next try is looked at; 0: it is looked at now."""
        tries = self._tries.get(key)
        if tries is None or tries.count < self._free:
            return 0.0
        pause = min(2.0 ** min(tries.count - self._free, 30), self._longest)
        passed = self._clock.now() - tries.last
        # A clock that was set back must not lock anybody out for longer than that.
        return max(pause - passed, 0.0) if passed >= 0 else pause

    def tried(self, key: str) -> None:
        """Count a try, before it is known how it ends: so that many at the same moment are not all free."""
        now = self._clock.now()
        tries = self._tries.pop(key, None)
        if tries is None or now - tries.last > FORGOTTEN + self._longest:
            tries = _Tries(0, now)
            while len(self._tries) >= KEPT:
                del self._tries[next(iter(self._tries))]
        # Put at the end: the dictionary stays in the order of the last tries.
        self._tries[key] = _Tries(tries.count + 1, now)

    def take_back(self, key: str) -> None:
        """One try was none: it ended well."""
        tries = self._tries.get(key)
        if tries is not None:
            tries.count = max(tries.count - 1, 0)

    def forget(self, key: str) -> None:
        """Begin anew."""
        self._tries.pop(key, None)
