"""Area: held mail. Lists that are searched, sorted and grouped, and what is known about one message."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery

from outbound_guard.config import ConfigError, Policy, policy_of
from outbound_guard.console.access import Asked
from outbound_guard.console.held_types import (
    DECISIONS,
    SEARCHED,
    Direction,
    GivenSearch,
    HeldDetails,
    HeldGroups,
    HeldPage,
    SameText,
    query_of,
)
from outbound_guard.console.moments import field_of
from outbound_guard.console.pages import link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk import held_show
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held.elsewhere import elsewhere
from outbound_guard.desk.policy.why import Why
from outbound_guard.ledger import bulk_queries, held_queries
from outbound_guard.ledger.held_queries import CLOSED, GroupBy, HeldRow, Search, Sort
from outbound_guard.mail import Signal

PAGE = 50
"""Rows of a page."""
MOST = 500
"""Rows of an answer of the API."""
_GROUPS: dict[str, GroupBy] = {"campaigns": "text", "accounts": "account", "senders": "sender"}
_SORTS: tuple[Sort, ...] = ("received", "score", "account", "sender", "size", "changed")


@get("/held", needs="read", dependencies=SEARCHED)
async def held_api(
    tools: GivenTools,
    search: GivenSearch,
    sort: FromQuery[Sort] = "received",
    direction: FromQuery[Direction] = "down",
    offset: FromQuery[int] = 0,
    limit: FromQuery[int] = PAGE,
) -> HeldPage:
    """Held mail that fits, and how much of it there is."""
    offset, limit = max(offset, 0), min(max(limit, 1), MOST)
    rows, total = await asyncio.to_thread(_rows, tools, search, sort, direction == "down", offset, limit)
    after = offset + len(rows)
    return HeldPage(items=rows, total=total, next=after if after < total else None)


@get("/held/groups", needs="read", dependencies=SEARCHED)
async def held_groups_api(
    tools: GivenTools,
    search: GivenSearch,
    by: FromQuery[GroupBy] = "text",
    offset: FromQuery[int] = 0,
    limit: FromQuery[int] = PAGE,
) -> HeldGroups:
    """Held mail that fits, grouped by campaign (`text`), account or sender; the largest groups first."""
    offset, limit = max(offset, 0), min(max(limit, 1), MOST)
    found, total = await asyncio.to_thread(held_queries.groups, tools.reader, search, by, offset=offset, limit=limit)
    after = offset + len(found)
    return HeldGroups(items=found, total=total, next=after if after < total else None)


@get("/held/{id_:str}", needs="read")
async def held_one_api(tools: GivenTools, id_: FromPath[str]) -> HeldDetails:
    """All that is known about a held message but its content: why it is held, and what became of its text elsewhere."""
    return (await _details(tools, id_))[0]


@get("/held/{id_:str}/similar", needs="read")
async def held_similar_api(tools: GivenTools, id_: FromPath[str], limit: FromQuery[int] = PAGE) -> SameText:
    """Messages with the same text as this one, whatever became of them, newest first."""
    details, _ = await _details(tools, id_)
    return await _similar(tools, details, min(max(limit, 1), MOST))


@get("/held", needs="read", dependencies=SEARCHED)
async def held_page(
    request: Asked,
    tools: GivenTools,
    search: GivenSearch,
    sort: FromQuery[str] = "-received",
    show: FromQuery[Literal["messages", "campaigns", "accounts", "senders"]] = "messages",
    number: FromQuery[int] = 1,
) -> Response[str]:
    """Held mail: searched, sorted, grouped."""
    query = query_of(search)
    offset = (max(number, 1) - 1) * PAGE
    # A dash before the name: downwards.
    by: Sort = next((one for one in _SORTS if one == sort.removeprefix("-")), "received")
    shown: dict[str, Any] = {"rows": [], "groups": []}
    if show == "messages":
        down = sort.startswith("-")
        rows, total = await asyncio.to_thread(_rows, tools, search, by, down, offset, PAGE)
        shown["rows"] = rows
    else:
        found, total = await asyncio.to_thread(
            held_queries.groups, tools.reader, search, _GROUPS[show], offset=offset, limit=PAGE
        )
        shown["groups"] = found
    live = await asyncio.to_thread(bulk_queries.live, tools.reader)
    whole = query | {"sort": sort if sort != "-received" else "", "show": show if show != "messages" else ""}
    return page(
        request,
        "held/list.html",
        search=search,
        query=query,
        whole=whole,
        sort=sort,
        show=show,
        total=total,
        offset=offset,
        live=live,
        since_field=field_of(search.since),
        decisions=DECISIONS,
        states=("held", "quarantine", "closed", *CLOSED),
        narrowed=any(value not in ("", None) for name, value in query.items() if name != "state"),
        may_decide=request.user.may("held"),
        may_read=request.user.may("content"),
        previous=link("/held", **whole, number=number - 1) if number > 2 else link("/held", **whole),
        has_previous=number > 1,
        next_page=link("/held", **whole, number=number + 1) if offset + PAGE < total else "",
        **shown,
    )


@get("/held/{id_:str}", needs="read")
async def held_one_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[str]:
    """What a held message is, why it is held, and what else is known of its text."""
    details, audit = await _details(tools, id_)
    same = await _similar(tools, details, 20)
    return page(
        request,
        "held/one.html",
        told=details,
        message=details.message,
        audit=audit,
        same=same,
        decisions=DECISIONS,
        waits=details.in_spool in ("held", "quarantine") or bool(details.lies_on),
        may_decide=request.user.may("held"),
        may_read=request.user.may("content"),
    )


def _rows(tools: Tools, search: Search, sort: Sort, down: bool, offset: int, limit: int) -> tuple[list[HeldRow], int]:
    rows = held_queries.page(tools.reader, search, sort=sort, down=down, offset=offset, limit=limit)
    return rows, held_queries.count(tools.reader, search)


async def _details(tools: Tools, id_: str) -> tuple[HeldDetails, list[dict[str, Any]]]:
    """A message and its entries in the audit. Raises DeskError, LedgerError."""
    found = await held_show(tools.reader, tools.spool, id_, await asyncio.to_thread(_policy, tools))
    row, engaged, others = await asyncio.gather(
        asyncio.to_thread(held_queries.one, tools.reader, id_),
        asyncio.to_thread(bulk_queries.engaged, tools.reader, [id_]),
        asyncio.to_thread(elsewhere, tools.reader, tools.config, [id_]),
    )
    other = None if found["in_spool"] else others.get(id_)
    decision = found["decision"] or {}
    if row is None and found["in_spool"] not in ("held", "quarantine"):
        raise DeskError(f"{id_} is not held: it is in the queue")
    row = row or _unknown(found)
    details = HeldDetails(
        message=row,
        reasons=tuple(found["reasons"]),
        signals=tuple(msgspec.convert(decision.get("signals", []), list[Signal])),
        why=msgspec.convert(found["why"], Why) if found["why"] else None,
        in_spool=found["in_spool"],
        decided_in=engaged.get(id_, ""),
        lies_on=other.node if other else "",
        lies_on_console=other.console if other else "",
        **{name: decision.get(name, "") for name in ("code", "client_ip", "server", "message_id", "answered")},
    )
    return details, list(decision.get("audit", []))


async def _similar(tools: Tools, details: HeldDetails, limit: int) -> SameText:
    text, id_ = details.message.text, details.message.id
    found = await asyncio.to_thread(held_queries.similar, tools.reader, id_, text, limit=limit)
    counts = await asyncio.to_thread(held_queries.same_text, tools.reader, text)
    return SameText(text=text, counts=counts, items=found)


def _unknown(found: dict[str, Any]) -> HeldRow:
    """A message that only the spool knows, since its record is still on the way or was lost."""
    names = ("id", "received", "account", "sender", "mail_from", "subject", "action", "score", "state", "due")
    return HeldRow(
        **{name: found[name] for name in (*names, "changed", "changed_by", "change_reason")},
        recipients=tuple(found["recipients"]),
        recipient_count=len(found["recipients"]),
        signals=(),
        text="",
        size=0,
        returnable=False,
    )


def _policy(tools: Tools) -> Policy | None:
    try:
        return policy_of(tools.config)
    except ConfigError:
        return None


PAGES = [held_page, held_one_page]
API = [held_api, held_groups_api, held_one_api, held_similar_api]
