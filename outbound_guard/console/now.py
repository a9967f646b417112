"""Area: now. The first page, and the same for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from litestar import Response, get

from outbound_guard.blocklist.own import own_subjects
from outbound_guard.config import Config
from outbound_guard.console.access import Asked
from outbound_guard.console.pages import clock, link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.now import ACTIONS, Now, now
from outbound_guard.ledger import listing_queries

LIVE = 5
"""Seconds after which the parts of the page refresh themselves."""
_FRESH = 2.0
"""Seconds for which an answer is good for everybody: many open pages must not ask the ledger as often."""


@get("/now", needs="read")
async def now_api(tools: GivenTools) -> Now:
    """Traffic by verdict, what waits for a decision, senders at risk, own addresses, cases, and the service's health.

    All of the last 24 hours; times are unix seconds. An answer may be two seconds old.
    """
    return await _now(tools)


@get("/", needs="read")
async def now_page(request: Asked, tools: GivenTools) -> Response[str]:
    """What goes on right now; its parts refresh themselves."""
    found = await _now(tools)
    watched = await asyncio.to_thread(_watched, tools)
    known = await asyncio.to_thread(_known, tools, watched[:20])
    columns = [
        (clock(column.time), {k: float(v) for k, v in column.messages.items()}) for column in found.traffic.columns
    ]
    return page(
        request,
        "now/now.html",
        found=found,
        actions=ACTIONS,
        columns=columns,
        before=[float(column.before) for column in found.traffic.columns],
        messages=sum(found.traffic.day.values()),
        messages_before=sum(found.traffic.day_before.values()),
        bad=[part for part in found.health if not part.good],
        watched=len(watched),
        known=known,
        asking=tools.config.blocklist.interval > 0,
        live=LIVE,
        held_link=lambda state: link("/held", state=state),
    )


async def _now(tools: Tools) -> Now:
    at = tools.clock.now()
    found: Now | None = _answers.get(id(tools))
    if found is None or not 0 <= at - found.time < _FRESH:
        found = await asyncio.to_thread(now, tools.reader, tools.config, at)
        _answers.clear()
        _answers[id(tools)] = found
    return found


def _watched(tools: Tools) -> tuple[str, ...]:
    """Own addresses and domains: worked out once for a configuration, since they may be many thousands."""
    if not _own or _own[0][0] is not tools.config:
        _own[:] = [(tools.config, own_subjects(tools.config))]
    return _own[0][1]


def _known(tools: Tools, subjects: Sequence[str]) -> bool:
    """Whether a list has answered about one of these. Raises LedgerError."""
    rows = listing_queries.listings(tools.reader, subjects=subjects) if subjects else []
    return any(row["known"] != "unknown" for row in rows)


_answers: dict[int, Now] = {}
_own: list[tuple[Config, tuple[str, ...]]] = []

PAGES = [now_page]
API = [now_api]
