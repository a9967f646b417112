"""Area: what the signals' weights have learned from people's decisions; shown, undone, reset."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromQuery, JSONBody
from litestar.response import Redirect
from litestar.status_codes import HTTP_200_OK

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import go, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.policy.weights import weights_reset, weights_show, weights_undo
from outbound_guard.ledger import weight_queries
from outbound_guard.ledger.records import WeightChange

_SHOWN = 100


class Weight(msgspec.Struct, frozen=True):
    """What one signal's weight has learned."""

    signal: str
    factor: float
    """Its weight is multiplied by this."""
    adapts: bool
    honest: int
    """Lessons from mail that was found honest, since it was reset."""
    abuse: int
    changed: float
    """Unix seconds; 0: never."""
    by: str


class Weights(msgspec.Struct, frozen=True):
    """All signals."""

    items: list[Weight]
    total: int


class History(msgspec.Struct, frozen=True):
    """Changes of the factors, newest first."""

    items: list[WeightChange]
    total: int


class Undo(msgspec.Struct, frozen=True):
    """A message from which nothing should have been learned."""

    message: str = ""
    reason: str = ""


class Reset(msgspec.Struct, frozen=True):
    """A signal, or all, that get the weight of the policy again."""

    signal: str = ""
    """Empty: all."""
    reason: str = ""


async def _weights(tools: Tools) -> list[Weight]:
    return msgspec.convert(await asyncio.to_thread(weights_show, tools.reader), list[Weight])


async def _history(tools: Tools, signal: str) -> list[WeightChange]:
    return await asyncio.to_thread(weight_queries.history, tools.reader, signal=signal, limit=_SHOWN)


@get("/weights", needs="read")
async def weights_api(tools: GivenTools) -> Weights:
    """Every signal with the factor that its weight has learned."""
    found = await _weights(tools)
    return Weights(found, len(found))


@get("/weights/history", needs="read")
async def history_api(tools: GivenTools, signal: FromQuery[str] = "") -> History:
    """The last 100 changes, of all signals or one."""
    found = await _history(tools, signal)
    return History(found, len(found))


@post("/weights/undo", needs="policy", status_code=HTTP_200_OK)
async def undo_api(request: Asked, tools: GivenTools, data: JSONBody[Undo]) -> History:
    """Take back what was learned from one message."""
    return await _undo(request, tools, data)


@post("/weights/reset", needs="policy", status_code=HTTP_200_OK)
async def reset_api(request: Asked, tools: GivenTools, data: JSONBody[Reset]) -> History:
    """Give one signal, or all, the weight of the policy again."""
    return await _reset(request, tools, data)


@get("/policy/weights", needs="read")
async def weights_page(request: Asked, tools: GivenTools, signal: FromQuery[str] = "") -> Response[str]:
    """What the weights have learned, and from what."""
    return page(
        request,
        "policy/weights.html",
        weights=await _weights(tools),
        history=await _history(tools, signal),
        signal=signal,
        learning=tools.config.policy.learn,
    )


@post("/policy/weights/undo", needs="policy")
async def undo(
    request: Asked, tools: GivenTools, data: Annotated[Undo, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Take back what was learned from one message."""
    changes = (await _undo(request, tools, data)).items
    return go("/policy/weights", f"What was learned from {data.message} is undone: {_named(changes)}.")


@post("/policy/weights/reset", needs="policy")
async def reset(
    request: Asked, tools: GivenTools, data: Annotated[Reset, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Give one signal, or all, the weight of the policy again."""
    changes = (await _reset(request, tools, data)).items
    said = f"Reset: {_named(changes)}." if changes else "Nothing was learned that could be reset."
    return go("/policy/weights", said)


async def _undo(request: Asked, tools: Tools, data: Undo) -> History:
    changes = await asyncio.to_thread(
        weights_undo, tools.reader, tools.journal, tools.clock, data.message, by=request.user.by, reason=data.reason
    )
    await tools.settle()
    return History(changes, len(changes))


async def _reset(request: Asked, tools: Tools, data: Reset) -> History:
    changes = await asyncio.to_thread(
        weights_reset, tools.reader, tools.journal, tools.clock, data.signal, by=request.user.by, reason=data.reason
    )
    await tools.settle()
    return History(changes, len(changes))


def _named(changes: list[WeightChange]) -> str:
    return ", ".join(f"{change.signal} {change.factor_from:.3f} → {change.factor_to:.3f}" for change in changes)


PAGES = [weights_page, undo, reset]
API: list[Any] = [weights_api, history_api, undo_api, reset_api]
