"""Area: accounts. What control panels were told about an account or sender, and telling them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import Asked
from outbound_guard.console.accounts_acts import one_of
from outbound_guard.console.pages import go
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk import panels as desk
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.panels import Told

Scope = Literal["account", "sender"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=254)]
WORDS = {"suspend": "told to stop it", "release": "told to let it go"}


class PanelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What control panels are to do with an account or sender."""

    scope: Scope
    subject: Name
    what: Literal["suspend", "release"]
    panels: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=100)] = []
    """Only these; none named: all that are for its account."""
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """It is in the outbox; what the panels answer can be asked for."""

    panels: list[str]


class PanelsTold(msgspec.Struct, frozen=True, kw_only=True):
    """What each panel was told last, and what it answered."""

    items: list[Told]


class OrderForm(msgspec.Struct):
    """An order as a form sends it."""

    scope: str = ""
    subject: str = ""
    what: str = ""
    panel: str = ""


@get("/accounts/panels", needs="read")
async def told_api(tools: GivenTools, subject: FromQuery[Name], of: FromQuery[Scope] = "account") -> PanelsTold:
    """What control panels were told last about an account or sender (`of`); who was told nothing is left out."""
    return PanelsTold(items=await told(tools, of, subject))


@post("/accounts/panels", needs="accounts", status_code=200)
async def order_api(request: Asked, tools: GivenTools, data: JSONBody[PanelOrder]) -> Placed:
    """Have control panels stop the outgoing mail of an account or sender, or let it go again."""
    names = await _order(tools, data.what, data.scope, data.subject, data.panels, data.reason, request.user.by)
    return Placed(panels=names)


@post("/accounts/panel", needs="accounts")
async def order_page(
    request: Asked, tools: GivenTools, data: Annotated[OrderForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Has one panel do it."""
    if not data.panel:
        raise DeskError("no control panel was named")
    await _order(tools, data.what, data.scope, data.subject, [data.panel], "", request.user.by)
    return go(
        one_of(data.scope, data.subject), f"{data.panel} is {WORDS[data.what]}. Its answer stands here in a moment."
    )


async def told(tools: Tools, scope: str, subject: str) -> list[Told]:
    """What control panels were told last about an account or sender."""
    if not tools.config.panel:
        return []
    return await asyncio.to_thread(desk.told, tools.reader, tools.config, scope, subject)


async def _order(
    tools: Tools, what: str, scope: str, subject: str, panels: list[str], reason: str, by: str
) -> list[str]:
    names = await desk.order(
        tools.reader,
        tools.journal,
        tools.clock,
        tools.config,
        what,
        scope,
        subject,
        by=by,
        reason=reason,
        names=panels,
    )
    await tools.settle()
    return names


PAGES = [order_page]
API = [told_api, order_api]
