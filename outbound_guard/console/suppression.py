"""Area: feedback. Suppression lists: who is on them, and what people change."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import back, link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.accounts import suppressing
from outbound_guard.ledger import feedback_queries

PAGE = 100
MOST = 1000
"""Recipients of an answer of the API."""


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient that an account is not to write to any more."""

    account: str
    address: str
    time: float
    why: str
    """unknown_user | complaint | by_hand"""
    message: str
    """Our id of the message that it came from."""
    detail: str
    by: str


class SuppressionList(msgspec.Struct, frozen=True):
    """Recipients, by account and address."""

    items: list[Suppressed]
    next: int
    """Give it as `first` to go on; 0: that was all."""


class SuppressionChange(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient to be put on an account's list, or taken off."""

    account: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]
    address: Annotated[str, msgspec.Meta(min_length=3, max_length=320)]
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class ChangeForm(msgspec.Struct):
    """The same as a form sends it."""

    account: str = ""
    address: str = ""
    reason: str = ""


Form = Annotated[ChangeForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


@get("/suppression", needs="read")
async def list_api(
    tools: GivenTools,
    account: FromQuery[str] = "",
    address: FromQuery[str] = "",
    first: FromQuery[int] = 0,
    limit: FromQuery[int] = PAGE,
) -> SuppressionList:
    """Who is on the suppression lists; at most 1000."""
    first, limit = max(first, 0), min(max(limit, 1), MOST)
    rows = await _rows(tools, account, address, first, limit)
    items = [Suppressed(**{name: row[name] for name in Suppressed.__struct_fields__}) for row in rows[:limit]]
    return SuppressionList(items, first + limit if len(rows) > limit else 0)


@post("/suppression/add", needs="accounts", status_code=200)
async def add_api(request: Asked, tools: GivenTools, data: JSONBody[SuppressionChange]) -> Suppressed:
    """Put a recipient on an account's list."""
    return await _change(tools, "added", data.account, data.address, data.reason, request.user.by)


@post("/suppression/remove", needs="accounts", status_code=200)
async def remove_api(request: Asked, tools: GivenTools, data: JSONBody[SuppressionChange]) -> Suppressed:
    """Take a recipient off an account's list, until something new speaks against it."""
    return await _change(tools, "removed", data.account, data.address, data.reason, request.user.by)


@get("/suppression", needs="read")
async def list_page(
    request: Asked,
    tools: GivenTools,
    account: FromQuery[str] = "",
    address: FromQuery[str] = "",
    first: FromQuery[int] = 0,
) -> Response[str]:
    """Who is on the lists."""
    first = max(first, 0)
    query = {"account": account.strip(), "address": address.strip()}
    rows = await _rows(tools, query["account"], query["address"], first, PAGE)
    return page(
        request,
        "feedback/suppression.html",
        rows=rows[:PAGE],
        account=query["account"],
        address=query["address"],
        may_change=request.user.may("accounts"),
        refuse=tools.config.feedback.suppress == "refuse",
        first_page=link("/suppression", **query) if first else "",
        next_page=link("/suppression", **query, first=first + PAGE) if len(rows) > PAGE else "",
    )


@post("/suppression/add", needs="accounts")
async def add_page(request: Asked, tools: GivenTools, data: Form) -> Redirect:
    """Puts a recipient on a list."""
    done = await _change(tools, "added", data.account.strip(), data.address.strip(), data.reason, request.user.by)
    return back(request, f"{done.address} is on the list of {done.account}.", otherwise="/suppression")


@post("/suppression/remove", needs="accounts")
async def remove_page(request: Asked, tools: GivenTools, data: Form) -> Redirect:
    """Takes a recipient off a list."""
    done = await _change(tools, "removed", data.account.strip(), data.address.strip(), data.reason, request.user.by)
    return back(request, f"{done.address} is off the list of {done.account}.", otherwise="/suppression")


async def _rows(tools: Tools, account: str, address: str, first: int, limit: int) -> list[feedback_queries.Row]:
    return await asyncio.to_thread(
        feedback_queries.suppressed, tools.reader, account=account, address=address, first=first, limit=limit + 1
    )


async def _change(tools: Tools, what: str, account: str, address: str, reason: str, by: str) -> Suppressed:
    act = suppressing.add if what == "added" else suppressing.remove
    done = act(tools.journal, tools.clock, account, address, by=by, reason=reason)
    await tools.settle()
    return Suppressed(**{name: getattr(done, name) for name in Suppressed.__struct_fields__})


PAGES: list[Any] = [list_page, add_page, remove_page]
API: list[Any] = [list_api, add_api, remove_api]
