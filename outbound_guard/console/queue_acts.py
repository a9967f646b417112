"""Area: acts on queued mail, one message or thousands: preview, placing, progress."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import go, link, page
from outbound_guard.console.queue_types import ACTS, SEARCHED, Act, GivenSearch, meant_of, query_of
from outbound_guard.console.tools import GivenTools
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.queue.deciding import Meant, Progress
from outbound_guard.desk.queue.desk import Preview
from outbound_guard.desk.queue.waiting import Search


class QueueMeant(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with which messages: named by `ids`, or all that `search` finds; one of the two."""

    act: Act
    ids: tuple[str, ...] = ()
    search: Search | None = None


class QueueOrder(QueueMeant, frozen=True, kw_only=True):
    """The same, to be done."""

    reason: str = ""
    """Why; stands in the audit. Of messages that are given up it is told to the sender, too."""


class QueueActs(msgspec.Struct, frozen=True, kw_only=True):
    """Acts on the queue since the last restart, the newest first."""

    items: list[Progress]


class Placing(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the preview, sent. Empty fields restrict nothing."""

    do: Act
    id: str | list[str] = ""
    """One of it comes as a string."""
    reason: str = ""
    query: str = ""
    """The search as JSON; empty if messages are named."""


@post("/queue/preview", needs="held", status_code=200)
async def queue_preview_api(tools: GivenTools, data: JSONBody[QueueMeant]) -> Preview:
    """What an act would do, and to which messages it cannot be done. Changes nothing."""
    return await tools.queue.preview(meant_of(data.ids, data.search), data.act)


@post("/queue/acts", needs="held", status_code=202)
async def queue_place_api(request: Asked, tools: GivenTools, data: JSONBody[QueueOrder]) -> Progress:
    """Try queued messages now, hold them, or give them up. It is begun at once, in the background."""
    meant = meant_of(data.ids, data.search)
    begun = await tools.queue.place(meant, data.act, by=request.user.by, reason=data.reason.strip())
    await tools.settle()
    return begun


@get("/queue/acts", needs="read")
async def queue_acts_api(tools: GivenTools) -> QueueActs:
    """Acts on the queue since the last restart, the newest first."""
    return QueueActs(items=tools.queue.acts.newest())


@get("/queue/acts/{id_:str}", needs="read")
async def queue_act_api(tools: GivenTools, id_: FromPath[str]) -> Progress:
    """An act on the queue and how far it has come."""
    return tools.queue.acts.one(id_)


@get("/queue/decide", needs="held", dependencies=SEARCHED)
async def queue_preview_page(
    request: Asked,
    tools: GivenTools,
    search: GivenSearch,
    do: FromQuery[Act] = "retry",
    id: FromQuery[list[str] | None] = None,
    all: FromQuery[str] = "",
) -> Response[str]:
    """What would happen, before it does."""
    if all and not search.empty and not search.before:
        # What comes in meanwhile was not looked at and is not meant.
        search = msgspec.structs.replace(search, before=tools.clock.now())
    meant = meant_of(() if all else tuple(dict.fromkeys(id or [])), search if all else None)
    told = await tools.queue.preview(meant, do)
    return page(
        request,
        "queue/decide.html",
        do=do,
        words=ACTS[do],
        acts=ACTS,
        told=told,
        ids=() if isinstance(meant, Search) else meant,
        query=msgspec.json.encode(meant).decode() if isinstance(meant, Search) else "",
        back=link("/queue", **query_of(search)),
        others={name: _again(name, meant, search) for name in ACTS if name != do},
    )


@post("/queue/decide", needs="held")
async def queue_place_page(
    request: Asked, tools: GivenTools, data: Annotated[Placing, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Do it."""
    try:
        search = msgspec.json.decode(data.query, type=Search) if data.query else None
    except msgspec.DecodeError as error:
        raise DeskError(f"the search cannot be read: {error}") from error
    ids = (data.id,) if isinstance(data.id, str) and data.id else tuple(data.id)
    begun = await tools.queue.place(meant_of(ids, search), data.do, by=request.user.by, reason=data.reason.strip())
    await tools.settle()
    return go(f"/queue/acts/{begun.id}")


@get("/queue/acts/{id_:str}", needs="read")
async def queue_act_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[str]:
    """How far an act has come."""
    told = tools.queue.acts.one(id_)
    return page(request, "queue/act.html", told=told, words=ACTS[_act(told.act)])


def _act(name: str) -> Act:
    return next(act for act in ACTS if act == name)


def _again(do: str, meant: Meant, search: Search) -> str:
    """The preview of another act on the same messages."""
    if isinstance(meant, Search):
        return link("/queue/decide", do=do, all="yes", **query_of(meant))
    return link("/queue/decide", do=do, id=list(meant), **query_of(search))


PAGES: list[Any] = [queue_preview_page, queue_place_page, queue_act_page]
API: list[Any] = [queue_preview_api, queue_place_api, queue_acts_api, queue_act_api]
