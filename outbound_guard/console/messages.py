"""Area: messages. Where is my mail?"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery

from outbound_guard.console.access import Asked
from outbound_guard.console.moments import field_of, moment_of
from outbound_guard.console.pages import link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.messages.search import Story, message_search, place_of, place_text, story
from outbound_guard.desk.now import ACTIONS
from outbound_guard.ledger.message_queries import Found, Search

PAGE = 50
"""Rows of a page."""
MOST = 500
"""Rows of an answer of the API."""
KINDS = {
    "delivered": "good",
    "released": "good",
    "refused": "bad",
    "given_up": "bad",
    "returned": "bad",
    "deleted": "bad",
    "with_client": "warn",
    "trying": "warn",
    "held": "held",
    "quarantine": "quarantine",
    "unknown": "unknown",
}
"""The colour of a recipient's state."""


class FoundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as lists show it. Times are unix seconds."""

    id: str
    received: float
    account: str
    sender: str
    mail_from: str
    recipients: list[str]
    subject: str
    message_id: str
    client_ip: str
    action: str
    """What the verdict says: relay | defer | hold | quarantine | reject."""
    score: float
    size: int
    mode: str
    answered: str
    """What the client was answered."""
    held: str | None
    """held | quarantine | released | deleted | returned | expired | missing; null: it never was held."""


class FoundMessages(msgspec.Struct, frozen=True, kw_only=True):
    """Messages, newest first."""

    items: list[FoundMessage]
    next: str
    """Give it as `place` to go on; empty: that was all."""
    looked_back_to: float
    """0; or the search ended early, and has looked at everything since then (unix seconds): go on with `next`."""


@get("/messages", needs="read")
async def messages_api(
    tools: GivenTools,
    address: FromQuery[str] = "",
    id: FromQuery[str] = "",
    account: FromQuery[str] = "",
    sender: FromQuery[str] = "",
    since: FromQuery[str] = "",
    before: FromQuery[str] = "",
    action: FromQuery[str] = "",
    subject: FromQuery[str] = "",
    place: FromQuery[str] = "",
    limit: FromQuery[int] = PAGE,
) -> FoundMessages:
    """Messages by address, id, account, time: newest first.

    `address` is that of a recipient, of the sender, or MAIL FROM; `id` ours or a Message-ID; `since` and `before` are
    unix seconds, a date or time, or a duration such as `7d` (so long ago).
    """
    limit = min(max(limit, 1), MOST)
    search = _search(tools, address, id, account, sender, since, before, action, subject, place, limit)
    found = await message_search(tools.reader, search)
    items = [msgspec.convert(row, FoundMessage) for row in found.rows]
    return FoundMessages(items=items, next=place_text(found.more), looked_back_to=found.looked_back_to)


@get("/messages/{id:str}", needs="read")
async def message_api(tools: GivenTools, id: FromPath[str]) -> Story:
    """The whole story of one message: from its reception to what came of it for each recipient."""
    return await story(tools.reader, tools.spool, tools.config, id)


@get("/messages", needs="read")
async def messages_page(
    request: Asked,
    tools: GivenTools,
    address: FromQuery[str] = "",
    id: FromQuery[str] = "",
    account: FromQuery[str] = "",
    sender: FromQuery[str] = "",
    since: FromQuery[str] = "",
    before: FromQuery[str] = "",
    action: FromQuery[str] = "",
    subject: FromQuery[str] = "",
    place: FromQuery[str] = "",
) -> Response[str]:
    """Messages that fit, newest first."""
    search = _search(tools, address, id, account, sender, since, before, action, subject, place, PAGE)
    found = await message_search(tools.reader, search)
    query: dict[str, Any] = {
        "address": address,
        "id": id,
        "account": account,
        "sender": sender,
        "since": since,
        "before": before,
        "action": action,
        "subject": subject,
    }
    return page(
        request,
        "messages/list.html",
        found=found,
        query=query,
        actions=ACTIONS,
        since_field=field_of(search.since),
        before_field=field_of(search.before),
        asked_something=any(query.values()),
        first_page=link("/messages", **query) if place else "",
        next_page=_next(found, query),
        kinds=KINDS,
        keep_days=tools.config.ledger.keep_days,
    )


@get("/messages/{id:str}", needs="read")
async def message_page(request: Asked, tools: GivenTools, id: FromPath[str]) -> Response[str]:
    """The whole story of one message."""
    told = await story(tools.reader, tools.spool, tools.config, id)
    well = all(fate.state == "delivered" for fate in told.recipients)
    tone = "warn" if not told.final else "good" if well else "bad"
    return page(request, "messages/one.html", told=told, kinds=KINDS, tone=tone, live=0 if told.final else 5)


def _search(
    tools: Tools,
    address: str,
    id: str,
    account: str,
    sender: str,
    since: str,
    before: str,
    action: str,
    subject: str,
    place: str,
    limit: int,
) -> Search:
    now = tools.clock.now()
    return Search(
        address=address.strip(),
        message_id=id.strip(),
        account=account.strip(),
        sender=sender.strip(),
        since=moment_of(since, now),
        before=moment_of(before, now),
        action=action,
        subject=subject,
        after=place_of(place),
        limit=limit,
    )


def _next(found: Found, query: dict[str, Any]) -> str:
    return link("/messages", **query, place=place_text(found.more)) if found.more else ""


PAGES = [messages_page, message_page]
API = [messages_api, message_api]
