"""Area: audit. Who did what, when, why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromQuery
from litestar.response import Stream

from outbound_guard.console.access import Asked
from outbound_guard.console.moments import field_of, moment_of
from outbound_guard.console.pages import link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.audit import MOST as MOST_EXPORTED
from outbound_guard.desk.audit import as_csv, audit_all, audit_search, place_of, place_text
from outbound_guard.ledger.audit_queries import Entry, Search

PAGE = 100
MOST = 1000
"""Entries of an answer of the API."""


class AuditEntries(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, newest first."""

    items: list[Entry]
    next: str
    """Give it as `place` to go on; empty: that was all."""
    looked_back_to: float
    """0; or the search ended early, and has looked at everything since then (unix seconds): go on with `next`."""


@get("/audit", needs="read")
async def audit_api(
    tools: GivenTools,
    by: FromQuery[str] = "",
    what: FromQuery[str] = "",
    subject: FromQuery[str] = "",
    text: FromQuery[str] = "",
    since: FromQuery[str] = "",
    before: FromQuery[str] = "",
    place: FromQuery[str] = "",
    limit: FromQuery[int] = PAGE,
) -> AuditEntries:
    """Who did what, when and why: newest first.

    `by`, `what` and `subject` are whole, or end with `*`; `text` is a part of subject or detail. `since` and `before`
    are unix seconds, a date or time, or a duration such as `7d` (so long ago).
    """
    limit = min(max(limit, 1), MOST)
    found = await audit_search(tools.reader, _search(tools, by, what, subject, text, since, before, place, limit))
    return AuditEntries(items=list(found.entries), next=place_text(found.more), looked_back_to=found.looked_back_to)


@get("/audit", needs="read")
async def audit_page(
    request: Asked,
    tools: GivenTools,
    by: FromQuery[str] = "",
    what: FromQuery[str] = "",
    subject: FromQuery[str] = "",
    text: FromQuery[str] = "",
    since: FromQuery[str] = "",
    before: FromQuery[str] = "",
    place: FromQuery[str] = "",
) -> Response[str]:
    """Who did what."""
    search = _search(tools, by, what, subject, text, since, before, place, PAGE)
    found = await audit_search(tools.reader, search)
    query: dict[str, Any] = {
        "by": by,
        "what": what,
        "subject": subject,
        "text": text,
        "since": since,
        "before": before,
    }
    return page(
        request,
        "audit/list.html",
        found=found,
        query=query,
        since_field=field_of(search.since),
        before_field=field_of(search.before),
        asked_something=any(query.values()),
        first_page=link("/audit", **query) if place else "",
        next_page=link("/audit", **query, place=place_text(found.more)) if found.more else "",
        export=link("/audit.csv", **query),
        most=MOST_EXPORTED,
        keep_days=tools.config.retention.audit,
    )


@get("/audit.csv", needs="read", media_type="text/csv")
async def audit_csv(
    tools: GivenTools,
    by: FromQuery[str] = "",
    what: FromQuery[str] = "",
    subject: FromQuery[str] = "",
    text: FromQuery[str] = "",
    since: FromQuery[str] = "",
    before: FromQuery[str] = "",
) -> Stream:
    """The same as CSV (RFC 4180), times in UTC; at most 100,000 entries."""
    search = _search(tools, by, what, subject, text, since, before, "", PAGE)

    async def lines() -> AsyncIterator[bytes]:
        heading = True
        async for entries in audit_all(tools.reader, search):
            yield as_csv(entries, heading=heading).encode()
            heading = False
        if heading:
            yield as_csv([], heading=True).encode()

    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return Stream(lines(), media_type="text/csv", headers=headers)


def _search(
    tools: Tools, by: str, what: str, subject: str, text: str, since: str, before: str, place: str, limit: int
) -> Search:
    now = tools.clock.now()
    return Search(
        by=by.strip(),
        what=what.strip(),
        subject=subject.strip(),
        text=text.strip(),
        since=moment_of(since, now),
        before=moment_of(before, now),
        after=place_of(place),
        limit=limit,
    )


PAGES = [audit_page, audit_csv]
API = [audit_api, audit_csv]
