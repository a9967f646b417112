"""A scanner that fails again and again is left alone for a while, so that mail does not wait for it in vain."""

from __future__ import annotations


class Breaker:
    """Counts failures in a row. After `failures` of them nothing is asked for `pause` seconds, then one probe is."""

    def __init__(self, failures: int, pause: float) -> None:
        self.failures, self.pause = failures, pause
        self._in_a_row = 0
        self._until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """True while the scanner is left alone, but for probes."""
        return self._in_a_row >= self.failures

    def admits(self, now: float) -> bool:
        """May it be asked at `now` (unix seconds)? Whoever was told yes says later how that went."""
        if not self.open:
            return True
        # A clock that was put back must not make the pause longer.
        if self._probing or self._until - self.pause <= now < self._until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> bool:
        """It has answered. True if that ends a pause."""
        ended = self.open
        self._in_a_row, self._probing = 0, False
        return ended

    def failed(self, now: float) -> bool:
        """It has not, or not in a way that can be used. True if that begins the pause."""
        self._in_a_row += 1
        self._probing = False
        if self.open:
            self._until = now + self.pause
        return self._in_a_row == self.failures

    def unsettled(self) -> None:
        """Whoever asked has gone before there was an answer; the next one may ask."""
        self._probing = False
