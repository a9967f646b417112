"""Refusals in the audit: the first of a kind at once, the same again as one line a minute."""

from __future__ import annotations

from outbound_guard.clock import Clock
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit

_MOST = 200
"""Lines of the audit a minute."""
_WHAT = "sign_in.refused"


class Refusals:
    """Who was refused, from where and why."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self._again: dict[tuple[str, str, str], int] = {}

    def add(self, who: str, client: str, why: str) -> None:
        """One refusal; `who` is empty if that is not known."""
        key = (who or "(no user)", client, why)
        if key not in self._again and len(self._again) >= _MOST:
            key = ("(several)", "several addresses", "several reasons")
        if key in self._again:
            self._again[key] += 1
        else:
            self._again[key] = 0
            self._write(key, "")

    def tidy(self) -> None:
        """Write down what came again; once a minute."""
        again, self._again = self._again, {}
        for key, number in again.items():
            if number:
                self._write(key, f"; {number} times more")

    def _write(self, key: tuple[str, str, str], more: str) -> None:
        who, client, why = key
        detail = f"{why}; from {client}{more}"
        self._journal.append(Audit(time=self._clock.now(), by="oidc", what=_WHAT, subject=who, detail=detail))
