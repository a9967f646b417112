"""FEEDBACK: what the world answers after it has taken a message: complaints, bounces that come later, logs.

    reading      octets -> Report: what somebody says, believed by nobody yet
    attributing  Report -> the message of ours it is about, and whether that is proven
    findings     both -> records of the journal
    intake       the one way in: each finding once
    following, postfix, kumo, matching, results    the same from the log, or the records, of a next hop
    teaching     what the ledger has -> reputation, mail log, metrics

`take`, `take_records` and `take_lines` are for whoever has something in hand and an event loop to keep free: the
listener, the API.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from outbound_guard.feedback.intake import Intake, Taken
from outbound_guard.feedback.results import Told, TooMany, look_at_lines, look_at_records, look_at_results

__all__ = ["MOST_LINES", "MOST_RECORDS", "Intake", "Taken", "TooMany", "take", "take_lines", "take_records"]

MOST_RECORDS, MOST_LINES = 1000, 5000
"""At a time."""
_EARLY = 8
_PAUSE = 1.0
"""Looks for a message that was relayed a moment ago, and seconds between two of them."""
_EARLY_RECORDS = 4
"""The same for records, among which may always be some that are not about messages of ours."""
_PORTION = 200
"""Findings that are written down in one go."""


async def take(
    content: bytes, intake: Intake, *, source: str, trusted: bool = False, mail_from: str | None = None
) -> Taken:
    """Take a report in (a complaint or a bounce, as a message); what it says is on disk when this returns.

    `source`: from where it comes, as people are to see it (`api KEY`). `trusted`: it counts without our token in it.
    `mail_from`: its envelope's sender, where that is known. `Taken.result` is `early` if its message is ours and not in
    the ledger yet: then nothing is kept, and it is to be handed in again. Raises LedgerError, OSError.
    """
    for _ in range(_EARLY):
        async with intake.turn:
            looked = await asyncio.to_thread(intake.look, content, source=source, trusted=trusted, mail_from=mail_from)
        if looked.result != "early":
            break
        await asyncio.sleep(_PAUSE)
    taken = intake.note(looked)
    intake.count("feedback_reports_total", taken.result)
    return taken


async def take_records(content: bytes, intake: Intake, *, source: str) -> Counter[str]:
    """Take in records of KumoMTA's shape (JSON lines, an array, one object), as a webhook of a next hop posts them.

    They count as what a next hop of ours says. How many were matched, unmatched, other, broken, and how much was new.
    Raises LedgerError, OSError, TooMany.
    """
    return await _take_told(lambda: look_at_records(content, intake, source, MOST_RECORDS), intake)


async def take_lines(content: bytes, intake: Intake, *, source: str) -> Counter[str]:
    """`take_records` for lines of a Postfix log, in their order."""
    async with intake.turn:
        results = await asyncio.to_thread(look_at_lines, content, intake.postfix, intake.clock.now(), MOST_LINES)
    return await _take_told(lambda: look_at_results(results, intake, source), intake)


async def _take_told(look: Callable[[], Told], intake: Intake) -> Counter[str]:
    for _ in range(_EARLY_RECORDS):
        async with intake.turn:
            told = await asyncio.to_thread(look)
        if not told.young:
            break
        await asyncio.sleep(_PAUSE)
    new = 0
    for start in range(0, len(told.found), _PORTION):
        new += intake.write(told.found[start : start + _PORTION])
        await asyncio.sleep(0)
    for result, number in told.counts.items():
        intake.count("feedback_log_lines_total", result, by=number)
    return told.counts + Counter(new=new)
