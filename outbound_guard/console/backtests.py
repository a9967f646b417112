"""Area: back-tests, a candidate policy on recorded traffic before it is saved."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody
from litestar.response import Redirect
from litestar.status_codes import HTTP_202_ACCEPTED

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import back, page
from outbound_guard.console.tools import GivenTools
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.policy.backtests import Backtest, Day
from outbound_guard.replay.backtest import Report


class Start(msgspec.Struct, frozen=True):
    """A candidate that is to be tried."""

    text: str
    """The text of a policy file."""
    days: tuple[str, ...] = ()
    """Recorded days, YYYYMMDD; none: all."""


class Backtests(msgspec.Struct, frozen=True):
    """The back-tests that are kept, the last first."""

    items: list[Backtest]
    total: int
    days: list[Day]
    """What is recorded."""


class Result(msgspec.Struct, frozen=True):
    """What came out of a back-test."""

    backtest: Backtest
    report: Report | None
    """None as long as it is not done."""
    senders_left_out: int
    """Senders that differ and are not in the report any more."""


@get("/backtests", needs="policy")
async def backtests_api(tools: GivenTools) -> Backtests:
    """The back-tests that are kept, and the recorded days that one could be made on."""
    found = await asyncio.to_thread(tools.backtests.all)
    return Backtests(found, len(found), await asyncio.to_thread(tools.backtests.days))


@post("/backtests", needs="policy", status_code=HTTP_202_ACCEPTED)
async def start_api(request: Asked, tools: GivenTools, data: JSONBody[Start]) -> Backtest:
    """Begin to try a candidate on recorded traffic; one at a time."""
    return await tools.backtests.start(data.text, by=request.user.by, days=data.days)


@get("/backtests/{id_:str}", needs="policy")
async def backtest_api(tools: GivenTools, id_: FromPath[str]) -> Result:
    """How far a back-test is, and its report when it is done."""
    return await _result(tools, id_)


@post("/backtests/{id_:str}/cancel", needs="policy", status_code=HTTP_202_ACCEPTED)
async def cancel_api(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Backtest:
    """End a back-test that is running."""
    await tools.backtests.cancel(id_, by=request.user.by)
    return await asyncio.to_thread(tools.backtests.one, id_)


@get("/policy/backtests/{id_:str}", needs="policy")
async def backtest_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[str]:
    """How far a back-test is, and what came out of it."""
    result = await _result(tools, id_)
    return page(
        request, "policy/backtest.html", test=result.backtest, report=result.report, left=result.senders_left_out
    )


@post("/policy/backtests/{id_:str}/cancel", needs="policy")
async def cancel(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Redirect:
    """End a back-test that is running."""
    await tools.backtests.cancel(id_, by=request.user.by)
    return back(request, "The back-test is cancelled.", otherwise="/policy")


async def _result(tools: Any, id_: str) -> Result:
    test = await asyncio.to_thread(tools.backtests.one, id_)
    found = await asyncio.to_thread(tools.backtests.report, id_)
    if found is None:
        return Result(test, None, 0)
    left = found.pop("senders_left_out")
    try:
        return Result(test, msgspec.convert(found, Report), left)
    except msgspec.ValidationError as error:
        raise DeskError(f"the report of back-test {id_} is of another version") from error


PAGES = [backtest_page, cancel]
API: list[Any] = [backtests_api, start_api, backtest_api, cancel_api]
