"""What the ledger has of feedback goes into the memory, the mail log and the metrics: each finding once, in one place.

However a finding came in (by SMTP, from a log, from the command line), it is in the ledger when it comes here, and has
a number; up to which one it was learned from is written down before it is done. So a crash can lose a lesson, and never
count one twice against a customer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from outbound_guard.delivery.answers import CLASSES
from outbound_guard.feedback.report import TYPES
from outbound_guard.learning import Learning
from outbound_guard.ledger import feedback_queries, feedback_storing
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.feedback_queries import Row
from outbound_guard.mail import Sender
from outbound_guard.maillog import MailLog
from outbound_guard.reply import Reply
from outbound_guard.reputation import Reputation
from outbound_guard.reputation.portrait import portraits

_AT_ONCE = 500
_CAMPAIGN = 2
"""Messages of one text and sender that were complained of, from which on the text is under suspicion: one complaint is
nothing against a text that many send alike."""
_TAUGHT = ("unknown_user", "refused", "our_address", "later")
"""Of results; that a message was taken was learned when our next hop took it."""


class Teaching:
    """Goes through the findings in their order."""

    def __init__(
        self,
        reader: Ledger,
        writer: Ledger,
        reputation: Reputation,
        learning: Callable[[], Learning],
        log: MailLog,
        count: Callable[..., None],
        told: Callable[[Row], None] = lambda row: None,
    ) -> None:
        """`learning` gives the rules in force; `told` hears of each finding that counts (the recorded traffic)."""
        self._reader, self._writer = reader, writer
        self._reputation, self._learning = reputation, learning
        self._log, self._count, self._told = log, count, told

    async def once(self) -> int:
        """Learn from what is new: how many findings that was. Raises LedgerError, StateDown; then nothing was."""
        done = await asyncio.to_thread(feedback_queries.progress, self._reader)
        rows = await asyncio.to_thread(feedback_queries.after, self._reader, done, _AT_ONCE)
        if not rows:
            return 0
        whom = list(dict.fromkeys((row["account"], row["sender"]) for row in rows if row["counts"]))
        profiles = {who: found.profile for who, found in zip(whom, await self._profiles(whom), strict=True)}
        await asyncio.to_thread(feedback_storing.note_progress, self._writer, rows[-1]["serial"])
        learning = self._learning()
        for row in rows:
            self._say(row)
            if row["counts"]:
                self._learn(row, profiles[row["account"], row["sender"]], learning)
                self._told(row)
                await self._campaign(row)
        return len(rows)

    async def _profiles(self, whom: list[tuple[str, str]]) -> list[Any]:
        return await portraits(self._reputation, whom) if whom else []

    def _learn(self, row: Row, profile: Any, learning: Learning) -> None:
        sender = Sender(row["account"], row["sender"], row["sender_kind"], "feedback")
        if row["outcome"] == "complaint":
            learning.complained(sender, profile, row["time"])
        elif row["outcome"] in _TAUGHT:
            reply = Reply(row["code"], row["enhanced"], row["detail"])
            learning.answered(sender, profile, row["time"], [reply])

    async def _campaign(self, row: Row) -> None:
        if row["outcome"] != "complaint" or not row["text"]:
            return
        times = await asyncio.to_thread(feedback_queries.complained_messages, self._reader, row["text"], row["sender"])
        if times >= _CAMPAIGN and row["sender_kind"] != "forwarder":
            self._reputation.complained(int(row["text"], 16), row["sender"])

    def _say(self, row: Row) -> None:
        coarse = row["class"].partition(".")[0]
        class_ = coarse if coarse in CLASSES or coarse in TYPES or coarse == "delivered" else "other"
        self._count("feedback_total", row["kind"], class_, "yes" if row["counts"] else "no")
        time, fields = row["time"], _fields(row)
        if row["kind"] == "complaint":
            said = {"feedback_type": row["class"], "user_agent": row["detail"]}
            self._log.event("Feedback", time, **fields, feedback_report=said)
            return
        fields |= {
            "response": _response(row),
            "bounce_classification": row["class"],
            "peer_address": {"name": row["peer"]},
        }
        if row["kind"] == "bounce":
            self._log.event("OOB", time, **fields)
        elif row["final"]:
            self._log.event("Bounce", time, **fields)
        else:
            self._log.event("TransientFailure", time, **fields)


def _fields(row: Row) -> dict[str, Any]:
    """What every line of the mail log has; the names are KumoMTA's where it has one."""
    return {
        "id": row["message"],
        "account": row["account"],
        "identity": row["sender"],
        "recipient": row["recipient"],
        "source": row["source"],
        "proof": row["proof"],
        "counts": bool(row["counts"]),
    }


def _response(row: Row) -> dict[str, Any]:
    numbers = [int(part) for part in row["enhanced"].split(".") if part.isdigit()]
    names = ("class", "subject", "detail")
    enhanced = dict(zip(names, numbers, strict=True)) if len(numbers) == 3 else None
    return {"code": row["code"], "enhanced_code": enhanced, "content": row["detail"]}
