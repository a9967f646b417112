"""Area: the policy's editor. A text is checked, tried on recorded traffic, and saved over the one it was made from."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post, put
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK

from outbound_guard.config import Allow
from outbound_guard.console.access import Asked
from outbound_guard.console.pages import go, page
from outbound_guard.console.policy import Text
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.policy.candidate import Change, Problem, read_candidate
from outbound_guard.desk.policy.in_force import Saved, copy_text, how_to_have_a_file, in_force, save, what_would_change
from outbound_guard.desk.policy.rewording import with_allow_rule, with_setting, without_allow_rule


class Checked(msgspec.Struct, frozen=True):
    """What is wrong with a text, and what it would change."""

    problems: tuple[Problem, ...]
    changes: list[Change]
    difference: list[str]
    """Lines as of `diff -u`."""
    backtest: str
    """The id of a back-test of this text against what is in force; empty: there is none."""


class Save(msgspec.Struct, frozen=True):
    """A text that is to be the policy."""

    text: str
    instead_of: str
    """The `sha256` of the text that it was made from, as `in_force` shows it."""
    reason: str = ""


class Edited(msgspec.Struct, frozen=True):
    """The form of the editor."""

    text: str = ""
    instead_of: str = ""
    reason: str = ""
    days: str = ""
    """How many of the last recorded days it is tried on; empty: all."""
    do: str = "check"
    """check | try | save"""


@post("/policy/check", needs="policy", status_code=HTTP_200_OK)
async def check_api(tools: GivenTools, data: JSONBody[Text]) -> Checked:
    """What is wrong with a text, and what it would change. Nothing is saved."""
    return await _checked(tools, data.text)


@put("/policy", needs="policy")
async def save_api(request: Asked, tools: GivenTools, data: JSONBody[Save]) -> Saved:
    """Make a text the policy, over the one that it was made from; the processes read it at once."""
    return await _save(request, tools, data.text, data.instead_of, data.reason)


@get("/policy/edit", needs="policy")
async def edit_page(
    request: Asked,
    tools: GivenTools,
    copy: FromQuery[str] = "",
    backtest: FromQuery[str] = "",
    where: FromQuery[str] = "",
    value: FromQuery[str] = "",
    without_rule: FromQuery[int] = 0,
    reason: FromQuery[str] = "",
    until: FromQuery[str] = "",
    about: FromQuery[str] = "account",
    pattern: FromQuery[str] = "",
) -> Response[str]:
    """The text to be edited: what is in force, an earlier one, that of a back-test, or with one thing changed."""
    now = await asyncio.to_thread(in_force, tools.config)
    text, why = now.text, ""
    if copy:
        text, why = await asyncio.to_thread(copy_text, tools.config, copy), f"taken back: {copy}"
    elif backtest:
        text = await asyncio.to_thread(tools.backtests.candidate, backtest)
    try:
        if where:
            text, why = with_setting(text, where, value), f"{where} = {value}"
        elif without_rule:
            text, why = without_allow_rule(text, without_rule - 1), f"allow rule {without_rule} taken out"
        elif until or pattern:
            conditions = {about: pattern} if about in ("account", "sender", "server", "mail_from") else {}
            text, why = with_allow_rule(text, Allow(reason=reason, until=until, **conditions)), reason
    except DeskError as error:
        return await _editor(request, tools, text, now.sha256, "", refused=str(error))
    return await _editor(request, tools, text, now.sha256, why)


@post("/policy/edit", needs="policy", status_code=HTTP_200_OK)
async def edited(
    request: Asked,
    tools: GivenTools,
    data: Annotated[Edited, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Check what was edited, and show it; or try it, or save it. What cannot be saved is shown with its reason."""
    # Browsers send line ends as CRLF.
    text = data.text.replace("\r\n", "\n")
    try:
        if data.do == "try":
            test = await tools.backtests.start(text, by=request.user.by, days=await _last(tools, data.days))
            return go(f"/policy/backtests/{test.id}")
        if data.do != "save":
            return await _editor(request, tools, text, data.instead_of, data.reason)
        saved = await _save(request, tools, text, data.instead_of, data.reason)
    except DeskError as error:
        return await _editor(request, tools, text, data.instead_of, data.reason, refused=str(error))
    return go("/policy", _told(saved), bad=bool(not saved.told or saved.waiting))


async def _last(tools: Tools, days: str) -> tuple[str, ...]:
    """The last recorded days, so many; none: all of them."""
    # Python takes more for digits, and reads at most some thousands of them.
    number = int(days) if days.isascii() and days.isdecimal() and len(days) < 6 else 0
    known = await asyncio.to_thread(tools.backtests.days) if number else []
    return tuple(day.day for day in known[:number])


async def _editor(
    request: Asked, tools: Tools, text: str, instead_of: str, reason: str, *, refused: str = ""
) -> Response[str]:
    now = await asyncio.to_thread(in_force, tools.config)
    checked = await _checked(tools, text) if text != now.text else None
    return page(
        request,
        "policy/edit.html",
        status=409 if refused and request.method == "POST" else 200,
        now_in_force=now,
        text=text,
        instead_of=instead_of,
        reason=reason,
        checked=checked,
        refused=refused,
        days=await asyncio.to_thread(tools.backtests.days),
        recording=tools.config.recording.enabled,
        how=how_to_have_a_file(tools.config),
    )


async def _checked(tools: Tools, text: str) -> Checked:
    candidate, moved, lines = await asyncio.to_thread(what_would_change, tools.config, text)
    tried = await asyncio.to_thread(tools.backtests.of, text) if candidate.policy else None
    return Checked(candidate.problems, moved, lines, tried.id if tried else "")


async def _save(request: Asked, tools: Tools, text: str, instead_of: str, reason: str) -> Saved:
    tried = await asyncio.to_thread(tools.backtests.of, text) if read_candidate(text).policy else None
    saved = await save(
        tools.config,
        tools.journal,
        tools.clock,
        text,
        by=request.user.by,
        instead_of=instead_of,
        reason=reason[:500],
        backtest=f"back-test {tried.id}" if tried else "",
        reload=tools.reload,
    )
    await tools.settle()
    return saved


def _told(saved: Saved) -> str:
    number = len(saved.changes)
    what = f"Saved: {number} setting{'s' if number != 1 else ''} changed." if number else "Saved."
    if not saved.told:
        return f"{what} Nobody could be told: reload the service so that it is used."
    if saved.waiting:
        return f"{what} {', '.join(saved.waiting)} did not use it yet after some seconds; the log says why."
    if not saved.processes:
        return f"{what} No process here judges mail; where one does, reload it."
    return f"{what} All {len(saved.processes)} processes that judge mail use it."


PAGES = [edit_page, edited]
API: list[Any] = [check_api, save_api]
