"""Area: decisions about held mail, one message or thousands: preview, placing, progress, undo."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import Asked
from outbound_guard.console.held_types import DECISIONS, SEARCHED, Decision, GivenSearch, query_of
from outbound_guard.console.pages import go, link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held import bulk
from outbound_guard.desk.held.bulk import Preview
from outbound_guard.desk.held.elsewhere import asked_of_others
from outbound_guard.ledger import bulk_queries, held_queries
from outbound_guard.ledger.bulk_queries import Bulk, BulkItem
from outbound_guard.ledger.held_queries import Search

PAGE = 50
MOST = 500
"""Rows of an answer of the API."""
_SHOWN = 10
"""Messages that a preview names."""


class Meant(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages: named by `ids`, or all that `search` finds; one of the two."""

    ids: tuple[str, ...] = ()
    search: Search | None = None


class Order(Meant, frozen=True, kw_only=True):
    """What is to be done with which messages."""

    act: Literal["release", "delete", "return"]
    teach: bool = False
    """Learn from it: a release says that the mail was honest, a deletion that it was abuse."""
    reason: str = ""
    """Why; stands in the audit."""
    delay: float = bulk.DELAY
    """Seconds until it is carried out, in which it can be undone; 0: at once."""


class Bulks(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions, newest first."""

    items: list[Bulk]
    total: int
    next: int | None
    """The `offset` to go on with; null: that was all."""


class BulkItems(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of a decision, in the order in which they came in."""

    items: list[BulkItem]
    next: int | None
    """The `offset` to go on with; null: that was all."""


class Placing(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the preview, sent. Empty fields restrict nothing."""

    do: Decision
    id: str | list[str] = ""
    """One of it comes as a string."""
    reason: str = ""
    delay: float = bulk.DELAY
    query: str = ""
    """The search as JSON; empty if messages are named."""


@post("/bulk/preview", needs="held", status_code=200)
async def preview_api(tools: GivenTools, data: JSONBody[Order]) -> Preview:
    """What a decision would do, and to which messages it cannot be done. Changes nothing."""
    return await bulk.preview(tools.reader, _meant(data.ids, data.search), data.act, teach=data.teach)


@post("/bulk", needs="held", status_code=202)
async def place_api(request: Asked, tools: GivenTools, data: JSONBody[Order]) -> Bulk:
    """Decide about many held messages. It is carried out after `delay` seconds, in which it can be undone.

    About more than `console.four_eyes` of them it is `waiting`: a second person confirms or refuses it until `due`.
    """
    placed = await bulk.place(
        tools.reader,
        tools.journal,
        tools.clock,
        _meant(data.ids, data.search),
        data.act,
        teach=data.teach,
        by=request.user.by,
        reason=data.reason,
        delay=data.delay,
        person=request.user.name,
        eyes=_eyes(tools),
    )
    # A ledger that lags behind must not make it look as if nothing had been decided.
    await tools.settle()
    return placed


@get("/bulk", needs="read")
async def decisions_api(tools: GivenTools, offset: FromQuery[int] = 0, limit: FromQuery[int] = PAGE) -> Bulks:
    """Decisions about many held messages, newest first."""
    offset, limit = max(offset, 0), min(max(limit, 1), MOST)
    found = await asyncio.to_thread(bulk_queries.newest, tools.reader, offset=offset, limit=limit)
    total = await asyncio.to_thread(bulk_queries.number, tools.reader)
    after = offset + len(found)
    return Bulks(items=found, total=total, next=after if after < total else None)


@get("/bulk/{id_:str}", needs="read")
async def decision_api(tools: GivenTools, id_: FromPath[str]) -> Bulk:
    """A decision and how far it has come: messages pending, done, gone and failed."""
    return await bulk.progress(tools.reader, id_)


@get("/bulk/{id_:str}/items", needs="read")
async def items_api(
    tools: GivenTools,
    id_: FromPath[str],
    only: FromQuery[Literal["pending", "done", "gone", "failed"] | None] = None,
    offset: FromQuery[int] = 0,
    limit: FromQuery[int] = PAGE,
) -> BulkItems:
    """The messages of a decision, each with what became of it."""
    await bulk.progress(tools.reader, id_)
    offset, limit = max(offset, 0), min(max(limit, 1), MOST)
    states = (only,) if only else ()
    found = await asyncio.to_thread(bulk_queries.items, tools.reader, id_, states, offset=offset, limit=limit + 1)
    return BulkItems(items=found[:limit], next=offset + limit if len(found) > limit else None)


@post("/bulk/{id_:str}/undo", needs="held", status_code=200)
async def undo_api(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Bulk:
    """Take a decision back, as long as it is not being carried out."""
    undone = await bulk.undo(tools.reader, tools.journal, tools.clock, id_, by=request.user.by, writer=tools.writer)
    await tools.settle()
    return undone


@get("/held/decide", needs="held", dependencies=SEARCHED)
async def preview_page(
    request: Asked,
    tools: GivenTools,
    search: GivenSearch,
    do: FromQuery[Decision] = "release",
    id: FromQuery[list[str] | None] = None,
    all: FromQuery[str] = "",
) -> Response[str]:
    """What would happen, before it does."""
    words = DECISIONS[do]
    if all:
        # What comes in meanwhile was not looked at and is not meant.
        meant: bulk.Meant = search if search.before else msgspec.structs.replace(search, before=tools.clock.now())
    else:
        meant = tuple(dict.fromkeys(id or []))
    told = await bulk.preview(tools.reader, meant, words.act, teach=words.teach)
    if isinstance(meant, Search):
        examples = await asyncio.to_thread(held_queries.page, tools.reader, meant, limit=_SHOWN)
    else:
        known = await asyncio.to_thread(held_queries.by_ids, tools.reader, meant[:_SHOWN])
        examples = [known[one] for one in meant[:_SHOWN] if one in known]
    return page(
        request,
        "held/decide.html",
        do=do,
        words=words,
        decisions=DECISIONS,
        told=told,
        ids=() if isinstance(meant, Search) else meant,
        query=msgspec.json.encode(meant).decode() if isinstance(meant, Search) else "",
        back=link("/held", **query_of(search)),
        others={name: _again(name, meant, search) for name in DECISIONS if name != do},
        examples=examples,
        delay=bulk.DELAY,
        waits=_eyes(tools).needed(told.number),
    )


@post("/held/decide", needs="held")
async def place_page(
    request: Asked, tools: GivenTools, data: Annotated[Placing, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Decide."""
    words = DECISIONS[data.do]
    try:
        search = msgspec.json.decode(data.query, type=Search) if data.query else None
    except msgspec.DecodeError as error:
        raise DeskError(f"the search cannot be read: {error}") from error
    placed = await bulk.place(
        tools.reader,
        tools.journal,
        tools.clock,
        _meant((data.id,) if isinstance(data.id, str) and data.id else tuple(data.id), search),
        words.act,
        teach=words.teach,
        by=request.user.by,
        reason=data.reason.strip(),
        delay=data.delay,
        person=request.user.name,
        eyes=_eyes(tools),
    )
    await tools.settle()
    if await asyncio.to_thread(bulk_queries.one, tools.reader, placed.id) is None:
        # It is on disk, and will be carried out. Its page would say that there is none, and invite to do it again.
        said = f"{placed.id} is decided, of {placed.number} messages; the ledger lags behind, and will show it soon."
        return go("/held/decisions", said)
    return go(f"/held/decisions/{placed.id}")


@get("/held/decisions", needs="read")
async def decisions_page(request: Asked, tools: GivenTools, number: FromQuery[int] = 1) -> Response[str]:
    """What was decided about held mail, newest first."""
    offset = (max(number, 1) - 1) * PAGE
    found = await asyncio.to_thread(bulk_queries.newest, tools.reader, offset=offset, limit=PAGE)
    total = await asyncio.to_thread(bulk_queries.number, tools.reader)
    return page(
        request,
        "held/decisions.html",
        found=found,
        names=_NAMES,
        offset=offset,
        total=total,
        previous=link("/held/decisions", number=number - 1) if number > 1 else "",
        next_page=link("/held/decisions", number=number + 1) if offset + PAGE < total else "",
    )


@get("/held/decisions/{id_:str}", needs="read")
async def decision_page(
    request: Asked, tools: GivenTools, id_: FromPath[str], only: FromQuery[str] = "", number: FromQuery[int] = 1
) -> Response[str]:
    """How far a decision has come."""
    found = await bulk.progress(tools.reader, id_)
    states = (only,) if only else ()
    offset = (max(number, 1) - 1) * PAGE
    items = await asyncio.to_thread(bulk_queries.items, tools.reader, id_, states, offset=offset, limit=PAGE)
    failures = await asyncio.to_thread(bulk_queries.failures, tools.reader, id_)
    total = found.counts.get(only, 0) if only else found.number
    return page(
        request,
        "held/decision.html",
        told=found,
        name=_NAMES[found.act, found.teach],
        items=items,
        failures=failures,
        others=await asyncio.to_thread(asked_of_others, tools.reader, tools.config, id_),
        only=only,
        offset=offset,
        total=total,
        seen=found.number - found.counts.get("pending", 0),
        may_decide=request.user.may("held"),
        undoable=found.state in ("placed", "waiting") and found.due > tools.clock.now(),
        second=found.state == "waiting" and found.due > tools.clock.now() and request.user.name != found.person,
        previous=link(f"/held/decisions/{id_}", only=only, number=number - 1) if number > 1 else "",
        next_page=link(f"/held/decisions/{id_}", only=only, number=number + 1) if offset + PAGE < total else "",
    )


@post("/held/decisions/{id_:str}/undo", needs="held")
async def undo_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Redirect:
    """Take a decision back."""
    await bulk.undo(tools.reader, tools.journal, tools.clock, id_, by=request.user.by, writer=tools.writer)
    await tools.settle()
    return go(f"/held/decisions/{id_}", "Undone: every message stays where it was.")


def _eyes(tools: Tools) -> bulk.Eyes:
    return bulk.Eyes(tools.config.console.four_eyes, tools.config.console.four_eyes_seconds)


def _meant(ids: tuple[str, ...], search: Search | None) -> bulk.Meant:
    if ids and search is not None:
        raise DeskError("name messages, or say which by a search, not both")
    return search if search is not None else tuple(dict.fromkeys(ids))


def _again(do: str, meant: bulk.Meant, search: Search) -> str:
    """The preview of another decision about the same messages."""
    if isinstance(meant, Search):
        return link("/held/decide", do=do, all="yes", **query_of(meant))
    return link("/held/decide", do=do, id=list(meant), **query_of(search))


_NAMES: dict[tuple[str, bool], str] = {(words.act, words.teach): words.name for words in DECISIONS.values()}

PAGES: list[Any] = [preview_page, place_page, decisions_page, decision_page, undo_page]
API: list[Any] = [preview_api, place_api, decisions_api, decision_api, items_api, undo_api]
