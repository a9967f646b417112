"""Area: the second person of decisions about more held messages than one person decides about alone."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.params import FromPath, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import go
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.held import bulk
from outbound_guard.ledger.bulk_queries import Bulk


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a decision is refused."""

    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


@post("/bulk/{id_:str}/confirm", needs="held", status_code=200)
async def confirm_api(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Bulk:
    """Be the second person of a decision that waits for one; who has decided, also by a token, cannot be it."""
    return await _confirmed(request, tools, id_)


@post("/bulk/{id_:str}/refuse", needs="held", status_code=200)
async def refuse_api(request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[Refusal]) -> Bulk:
    """Refuse a decision that waits for a second person: every message stays where it is."""
    refused = await bulk.refuse(tools.reader, tools.journal, tools.clock, id_, by=request.user.by, reason=data.reason)
    await tools.settle()
    return refused


@post("/held/decisions/{id_:str}/confirm", needs="held")
async def confirm_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Redirect:
    """Be the second person of a decision."""
    await _confirmed(request, tools, id_)
    return go(f"/held/decisions/{id_}", "Confirmed: it is carried out now.")


@post("/held/decisions/{id_:str}/refuse", needs="held")
async def refuse_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Redirect:
    """Refuse a decision that waits for a second person."""
    reason = str((await request.form()).get("reason", "")).strip()[:500]
    await bulk.refuse(tools.reader, tools.journal, tools.clock, id_, by=request.user.by, reason=reason)
    await tools.settle()
    return go(f"/held/decisions/{id_}", "Refused: every message stays where it was.")


async def _confirmed(request: Asked, tools: Tools, id_: str) -> Bulk:
    confirmed = await bulk.confirm(
        tools.reader, tools.journal, tools.clock, id_, person=request.user.name, by=request.user.by
    )
    await tools.settle()
    return confirmed


PAGES: list[Any] = [confirm_page, refuse_page]
API: list[Any] = [confirm_api, refuse_api]
