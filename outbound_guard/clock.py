"""Time as an argument: the product asks a clock, tests and replay set one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Says what time it is."""

    def now(self) -> float:
        """Unix time in seconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Unix time in seconds, as the machine knows it."""
        return time.time()


class VirtualClock:
    """A clock that stands where it was put: recorded traffic and tests set it."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """Unix time in seconds, as last set."""
        return self._now

    def set(self, now: float) -> None:
        """Move to `now` (unix seconds); moving back is allowed, as it is for a real clock."""
        self._now = now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self._now += seconds
