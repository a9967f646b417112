"""Area: the queue. What waits to be delivered, why, and what is known about one message."""

from __future__ import annotations

from typing import Any

from litestar import Response, get
from litestar.params import FromPath, FromQuery

from outbound_guard.console.access import Asked
from outbound_guard.console.held_types import Direction
from outbound_guard.console.pages import link, page
from outbound_guard.console.queue_types import ACTS, SEARCHED, GivenSearch, query_of
from outbound_guard.console.tools import GivenTools
from outbound_guard.delivery.answers import CLASSES
from outbound_guard.desk.queue.desk import Page
from outbound_guard.desk.queue.listing import Sort
from outbound_guard.desk.queue.showing import Queued

PAGE = 50
"""Rows of a page."""
MOST = 500
"""Rows of an answer of the API."""
AGES = {"1h": "an hour", "6h": "6 hours", "1d": "a day", "2d": "2 days", "4d": "4 days"}
_SORTS: tuple[Sort, ...] = ("received", "due", "attempts", "size", "account")
_LATELY = 3600.0
"""Seconds for which an act that is done is shown with the list."""


@get("/queue", needs="read", dependencies=SEARCHED)
async def queue_api(
    tools: GivenTools,
    search: GivenSearch,
    sort: FromQuery[Sort] = "received",
    direction: FromQuery[Direction] = "up",
    offset: FromQuery[int] = 0,
    limit: FromQuery[int] = PAGE,
) -> Page:
    """Queued messages that fit, the oldest first, and all of them in numbers: by destination, account, last answer."""
    return await tools.queue.page(
        search, sort=sort, down=direction == "down", offset=max(offset, 0), limit=min(max(limit, 1), MOST)
    )


@get("/queue/{id_:str}", needs="read")
async def queue_one_api(tools: GivenTools, id_: FromPath[str]) -> Queued:
    """One queued message: for whom it waits, why, what is done next, and when it is given up."""
    return await tools.queue.show(tools.reader, id_)


@get("/queue", needs="read", dependencies=SEARCHED)
async def queue_page(
    request: Asked,
    tools: GivenTools,
    search: GivenSearch,
    sort: FromQuery[str] = "received",
    number: FromQuery[int] = 1,
) -> Response[str]:
    """The queue: in numbers, and message by message."""
    query: dict[str, Any] = query_of(search)
    offset = (max(number, 1) - 1) * PAGE
    by: Sort = next((one for one in _SORTS if one == sort.removeprefix("-")), "received")
    found = await tools.queue.page(search, sort=by, down=sort.startswith("-"), offset=offset, limit=PAGE)
    whole = query | {"sort": sort if sort != "received" else ""}
    now = tools.clock.now()
    return page(
        request,
        "queue/list.html",
        search=search,
        query=query,
        whole=whole,
        sort=sort,
        found=found,
        told=found.summary,
        offset=offset,
        acts=ACTS,
        classes=CLASSES,
        ages=AGES,
        lately=[one for one in tools.queue.acts.newest() if one.state == "running" or one.ended > now - _LATELY][:5],
        may_decide=request.user.may("held"),
        previous=link("/queue", **whole, number=number - 1) if number > 2 else link("/queue", **whole),
        has_previous=number > 1,
        next_page=link("/queue", **whole, number=max(number, 1) + 1) if found.next is not None else "",
    )


@get("/queue/{id_:str}", needs="read")
async def queue_one_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[str]:
    """One queued message."""
    told = await tools.queue.show(tools.reader, id_)
    return page(
        request,
        "queue/one.html",
        told=told,
        message=told.message,
        advice=list(dict.fromkeys(one.advice for one in told.recipients if one.state == "waiting" and one.advice)),
        acts=ACTS,
        may_decide=request.user.may("held"),
    )


PAGES = [queue_page, queue_one_page]
API = [queue_api, queue_one_api]
