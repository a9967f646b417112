"""The one way in for reports: read, attribute, write down. By SMTP, by the API and from the command line alike."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from outbound_guard.accounts.token import Tokens
from outbound_guard.clock import Clock
from outbound_guard.feedback.attributing import Attribution, attribute
from outbound_guard.feedback.findings import findings, suppressions
from outbound_guard.feedback.matching import QueueIds
from outbound_guard.feedback.postfix import Postfix
from outbound_guard.feedback.reading import read
from outbound_guard.feedback.report import Report
from outbound_guard.ledger import feedback_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Feedback
from outbound_guard.mail import time_of

LAG = 60.0
"""Seconds after which the ledger knows a message if it ever will."""
_REMEMBERED = 20_000
"""Findings of late: the ledger has them a moment after the journal."""


class Taken(msgspec.Struct, frozen=True):
    """What has become of a report."""

    result: str
    """counted | recorded (shown, without effect: not proven, or no news about the sender) | repeated | unattributed |
    other (no report) | unreadable | early (the ledger does not know its message yet: again in a moment)"""
    report: Report
    found: tuple[Feedback, ...] = ()
    """What it says, repeated or not."""
    new: tuple[Feedback, ...] = ()
    """What of that is written down."""

    @property
    def plain(self) -> dict[str, object]:
        """As names and values, for people and programs."""
        first = self.found[0] if self.found else None
        return {
            "result": self.result,
            "kind": self.report.kind,
            "form": self.report.form,
            "class": first.class_ if first else self.report.type,
            "message": first.message if first else "",
            "account": first.account if first else "",
            "sender": first.sender if first else "",
            "recipients": [one.recipient for one in self.found if one.recipient],
            "proof": first.proof if first else "",
            "counts": any(one.counts for one in self.found),
        }


class Intake:
    """Takes reports in. `look` and `fresh` may run in a thread; `note` and `write` belong to that of the journal."""

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        tokens: Tokens,
        clock: Clock,
        *,
        most: int,
        data_dir: Path,
        count: Callable[..., None] = lambda *labels, **options: None,
    ) -> None:
        """`most`: octets of a report; `count` counts a metric (Metrics.count)."""
        self.ledger, self._journal, self.tokens, self.clock, self.most = ledger, journal, tokens, clock, most
        self.positions = data_dir / "feedback"
        """Where it is kept how far logs have been read."""
        self.queue_ids = QueueIds(ledger)
        self.postfix = Postfix()
        """Reads lines of logs that are handed in."""
        self.turn = asyncio.Lock()
        """One at a time: a hostile report must not take all of a process that has other work."""
        self.count = count
        self._late: OrderedDict[str, None] = OrderedDict()

    def look(self, content: bytes, *, source: str, trusted: bool = False, mail_from: str | None = None) -> Taken:
        """Read a report and find out what it is about; nothing is written. Raises LedgerError."""
        now = self.clock.now()
        report = read(content, mail_from, self.most)
        if report.kind in ("other", "unreadable"):
            return Taken(report.kind, report)
        attribution = attribute(report, self.ledger, self.tokens, now)
        if attribution.message is None:
            if _early(attribution, now):
                return Taken("early", report)
            if report.form == "forwarded":
                # Somebody has forwarded something, which was not ours.
                return Taken("other", report)
        found = findings(report, attribution, now, source, trusted=trusted)
        known = feedback_queries.known(self.ledger, [one.key for one in found])
        new = tuple(one for one in found if one.key not in known)
        return Taken(_result(attribution, found, new), report, found, new)

    def note(self, taken: Taken) -> Taken:
        """Write down what is new, on disk when this returns. Raises OSError, and then nothing is."""
        new = self.unheard(taken.new)
        if len(new) != len(taken.new):
            result = taken.result if new else "repeated"
            taken = msgspec.structs.replace(taken, new=new, result=result)
        self.write(new)
        return taken

    def fresh(self, found: Sequence[Feedback]) -> tuple[Feedback, ...]:
        """Those of the findings (of logs) that the ledger does not know, each once. Raises LedgerError."""
        # That a message was taken is not kept as a finding, so nobody can know it again.
        keys = [one.key for one in found if one.outcome != "delivered"]
        known = feedback_queries.known(self.ledger, keys)
        by_key = {one.key: one for one in reversed(found) if one.key not in known}
        return tuple(by_key.values())[::-1]

    def write(self, found: Sequence[Feedback]) -> int:
        """Write down what of this was not a moment ago, on disk when this returns; how much. Raises OSError."""
        new = self.unheard(found)
        if new:
            self._journal.write(*new, *suppressions(new))
            self.heard(new)
        return len(new)

    def take(self, content: bytes, *, source: str, trusted: bool = False, mail_from: str | None = None) -> Taken:
        """`look` and `note`. Raises LedgerError, OSError."""
        return self.note(self.look(content, source=source, trusted=trusted, mail_from=mail_from))

    def unheard(self, found: Sequence[Feedback]) -> tuple[Feedback, ...]:
        """Those of the findings that were not written down a moment ago."""
        return tuple(one for one in found if one.key not in self._late)

    def heard(self, found: Sequence[Feedback]) -> None:
        """These are written down."""
        self._late.update(dict.fromkeys([one.key for one in found]))
        while len(self._late) > _REMEMBERED:
            self._late.popitem(last=False)


def _result(attribution: Attribution, found: tuple[Feedback, ...], new: tuple[Feedback, ...]) -> str:
    if found and not new:
        return "repeated"
    if attribution.message is None:
        return "unattributed"
    return "counted" if any(one.counts and one.outcome for one in new) else "recorded"


def _early(attribution: Attribution, now: float) -> bool:
    """True if the message is ours by its seal, and so young that the ledger may not know it yet."""
    made = time_of(attribution.sealed) if attribution.sealed else None
    return made is not None and now - made < LAG
