"""Area: notices. What was told to whom, how that went, and what people decide about it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body, FromPath, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import back, link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.notices import acts
from outbound_guard.ledger import outbox_queries
from outbound_guard.ledger.outbox_queries import Sending
from outbound_guard.ledger.outbox_records import KINDS

PAGE = 100
MOST = 1000
"""Notices of an answer of the API."""
State = Literal["", "waiting", "sent", "failed", "left_out"]
What = Literal["retry", "give_up"]


class NoticeItem(msgspec.Struct, frozen=True, kw_only=True):
    """A notice by one route."""

    id: int
    time: float
    kind: str
    account: str
    sender: str
    subject: str
    """What it is about beside them: the id of a message or case, an address or domain of ours."""
    reason: str
    count: int
    route: str
    state: str
    """waiting | sent | failed | left_out"""
    attempts: int
    tried: float
    due: float
    expires: float
    answer: str
    letter: str
    """The id it was sent with; several that went out together have the same."""


class NoticeList(msgspec.Struct, frozen=True):
    """Notices, the newest first."""

    items: list[NoticeItem]
    next: int
    """Give it as `below` to go on; 0: that was all."""


class NoticeDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of some notices."""

    what: What
    ids: Annotated[tuple[int, ...], msgspec.Meta(min_length=1, max_length=1000)]
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class NoticeTest(msgspec.Struct, frozen=True, kw_only=True):
    """A route that is to be tried."""

    route: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    account: Annotated[str, msgspec.Meta(max_length=254)] = ""
    """Of a route to customers: whose contact gets it."""


class NoticeTested(msgspec.Struct, frozen=True):
    """A test stands in the outbox."""

    route: str


class DecisionForm(msgspec.Struct):
    """A decision as a form sends it."""

    what: What = "retry"
    id: int = 0
    reason: str = ""


class TestForm(msgspec.Struct):
    """A test as a form sends it."""

    route: str = ""
    account: str = ""


@get("/notices", needs="read")
async def list_api(
    tools: GivenTools,
    status: FromQuery[State] = "",
    route: FromQuery[str] = "",
    account: FromQuery[str] = "",
    kind: FromQuery[str] = "",
    below: FromQuery[int] = 0,
    limit: FromQuery[int] = PAGE,
) -> NoticeList:
    """What was told to whom, or is to be told, the newest first; at most 1000."""
    limit = min(max(limit, 1), MOST)
    rows, more = await _found(tools, status, route, account, kind, below, limit)
    return NoticeList([_item(row) for row in rows], more)


@post("/notices/decide", needs="accounts", status_code=200)
async def decide_api(request: Asked, tools: GivenTools, data: JSONBody[NoticeDecision]) -> NoticeList:
    """Try notices again now, or give them up; all of them or none."""
    done = await _decide(tools, data.ids, data.what, request.user.by, data.reason)
    return NoticeList([_item(row) for row in done], 0)


@post("/notices/test", needs="accounts", status_code=200)
async def test_api(request: Asked, tools: GivenTools, data: JSONBody[NoticeTest]) -> NoticeTested:
    """Put a test for one route into the outbox; what was answered is then in the list."""
    acts.try_route(tools.config, tools.journal, tools.clock, data.route, account=data.account, by=request.user.by)
    await tools.settle()
    return NoticeTested(data.route)


@get("/notices", needs="read")
async def list_page(
    request: Asked,
    tools: GivenTools,
    status: FromQuery[State] = "",
    route: FromQuery[str] = "",
    account: FromQuery[str] = "",
    kind: FromQuery[str] = "",
    below: FromQuery[int] = 0,
) -> Response[str]:
    """The outbox."""
    query: dict[str, Any] = {"status": status, "route": route.strip(), "account": account.strip(), "kind": kind}
    rows, more = await _found(tools, status, query["route"], query["account"], kind, below, PAGE)
    numbers = await asyncio.to_thread(outbox_queries.numbers, tools.reader)
    totals = {one: sum(n for (_, found), n in numbers.items() if found == one) for one in outbox_queries.STATES}
    routes = sorted({one.name for one in tools.config.notice} | {name for name, _ in numbers})
    return page(
        request,
        "notices/list.html",
        rows=rows,
        query=query,
        totals=totals,
        states=outbox_queries.STATES,
        kinds=tuple(KINDS),
        routes=routes,
        tests=tools.config.notice,
        may_act=request.user.may("accounts"),
        first_page=link("/notices", **query) if below else "",
        next_page=link("/notices", **query, below=more) if more else "",
        keep_days=tools.config.retention.notices,
    )


@get("/notices/{serial:int}", needs="read")
async def one_page(request: Asked, tools: GivenTools, serial: FromPath[int]) -> Response[str]:
    """One notice, with what became of its letter."""
    one = await asyncio.to_thread(outbox_queries.one, tools.reader, serial) if 0 < serial < 2**63 else None
    if one is None:
        raise NotFoundException(detail="there is no such notice")
    tried = await asyncio.to_thread(outbox_queries.deliveries, tools.reader, one.letter) if one.letter else []
    meaning = KINDS.get(one.notice.kind, one.notice.kind)
    may_act = request.user.may("accounts")
    return page(request, "notices/one.html", one=one, tried=tried, meaning=meaning, may_act=may_act)


@post("/notices/decide", needs="accounts")
async def decide_page(
    request: Asked, tools: GivenTools, data: Annotated[DecisionForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Tries one again, or gives it up."""
    await _decide(tools, (data.id,), data.what, request.user.by, data.reason)
    said = "will be tried again" if data.what == "retry" else "will not be sent"
    return back(request, f"Notice {data.id} {said}.", otherwise="/notices")


@post("/notices/test", needs="accounts")
async def test_page(
    request: Asked, tools: GivenTools, data: Annotated[TestForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Tries a route."""
    by = request.user.by
    acts.try_route(tools.config, tools.journal, tools.clock, data.route, account=data.account.strip(), by=by)
    await tools.settle()
    return back(request, f"A test for {data.route} is in the outbox.", otherwise="/notices")


async def _found(
    tools: Tools, state: str, route: str, account: str, kind: str, below: int, limit: int
) -> tuple[list[Sending], int]:
    """A page of notices, and below which number the next one begins; 0: there is none."""
    rows = await asyncio.to_thread(
        outbox_queries.listing,
        tools.reader,
        state=state,
        route=route,
        of=account,
        kind=kind,
        below=min(max(below, 0), 2**63 - 1),
        limit=limit + 1,
    )
    return rows[:limit], rows[limit - 1].serial if len(rows) > limit else 0


async def _decide(tools: Tools, ids: tuple[int, ...], what: str, by: str, reason: str) -> list[Sending]:
    done = await acts.decide(tools.reader, tools.journal, tools.clock, ids, what, by=by, reason=reason)
    await tools.settle()
    return done


def _item(one: Sending) -> NoticeItem:
    names = ("time", "kind", "account", "sender", "subject", "reason", "count")
    own = ("route", "state", "attempts", "tried", "due", "expires", "answer", "letter")
    told = {name: getattr(one.notice, name) for name in names} | {name: getattr(one, name) for name in own}
    return NoticeItem(id=one.serial, **told)


PAGES: list[Any] = [list_page, one_page, decide_page, test_page]
API: list[Any] = [list_api, decide_api, test_api]
