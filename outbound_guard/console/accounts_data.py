"""Area: accounts. All that is known of an account: taken away as a file, or erased."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import PermissionDeniedException
from litestar.params import Body, FromPath, FromQuery, JSONBody
from litestar.response import Redirect, Stream

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import go, link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.accounts.erasure import Erased, Preview, order_erasure, preview, progress
from outbound_guard.desk.accounts.export import export_account

_TYPES = {"zip": "application/zip", "json": "application/json"}


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be in the file."""

    account: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]
    format: Literal["zip", "json"] = "zip"
    content: bool = False
    """Held messages as they came in as well; in a ZIP only, and with the scope `content`."""


class ErasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An account to be erased."""

    account: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]
    typed: str
    """Its name once more."""
    keep_suspension: bool = False
    """What is suspended stays so, under its name."""
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    """For the audit; it should name nobody."""


class Ordered(msgspec.Struct, frozen=True):
    """An erasure that was ordered."""

    id: str


class ExportForm(msgspec.Struct):
    """An export as the form sends it."""

    account: str = ""
    format: str = "zip"
    content: str = ""


class ErasureForm(msgspec.Struct):
    """An erasure as the form sends it."""

    account: str = ""
    typed: str = ""
    keep: str = ""
    reason: str = ""


@post("/accounts/export", needs="accounts", status_code=200, media_type="application/zip")
async def export_api(request: Asked, tools: GivenTools, data: JSONBody[ExportRequest]) -> Stream:
    """All that is known of an account, as a ZIP file of JSON lines, or as one JSON document."""
    return await _export(request, tools, data)


@get("/accounts/erasure", needs="erase")
async def preview_api(tools: GivenTools, account: FromQuery[str]) -> Preview:
    """What erasing an account would remove, and what it would not reach."""
    return await preview(tools.reader, tools.reputation, tools.clock, tools.config, account)


@post("/accounts/erasure", needs="erase", status_code=202)
async def erase_api(request: Asked, tools: GivenTools, data: JSONBody[ErasureRequest]) -> Ordered:
    """Have an account erased, in the background; `typed` is its name once more."""
    return Ordered(await _order(request, tools, data))


@get("/accounts/erasures/{id:str}", needs="erase")
async def progress_api(tools: GivenTools, id: FromPath[str]) -> Erased:
    """How far an erasure has come."""
    return await progress(tools.reader, id)


@post("/accounts/export", needs="accounts", status_code=200)
async def export(
    request: Asked, tools: GivenTools, data: Annotated[ExportForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Stream:
    """A file with all that is known of an account."""
    format_: Literal["zip", "json"] = "json" if data.format == "json" else "zip"
    wanted = ExportRequest(account=data.account, format=format_, content=bool(data.content) and format_ == "zip")
    return await _export(request, tools, wanted)


@get("/accounts/data", needs="accounts")
async def data_page(request: Asked, tools: GivenTools, account: FromQuery[str]) -> Response[str]:
    """What is known of an account as a whole: to take away, or to erase."""
    plan = await preview(tools.reader, tools.reputation, tools.clock, tools.config, account)
    return page(request, "accounts/data.html", account=account, plan=plan)


@post("/accounts/erase", needs="erase")
async def erase(
    request: Asked, tools: GivenTools, data: Annotated[ErasureForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Has an account erased."""
    wanted = ErasureRequest(
        account=data.account, typed=data.typed, keep_suspension=bool(data.keep), reason=data.reason.strip()
    )
    return go(link("/accounts/erasure", id=await _order(request, tools, wanted)))


@get("/accounts/erasure", needs="erase")
async def erasure_page(request: Asked, tools: GivenTools, id: FromQuery[str]) -> Response[str]:
    """How far an erasure has come."""
    return page(request, "accounts/erasure.html", done=await progress(tools.reader, id))


async def _export(request: Asked, tools: Tools, wanted: ExportRequest) -> Stream:
    if wanted.content and not request.user.may("content"):
        raise PermissionDeniedException("the content of messages needs the scope `content`")
    pieces = await export_account(
        tools.reader,
        tools.spool,
        tools.reputation,
        tools.journal,
        tools.clock,
        wanted.account,
        by=request.user.by,
        format_=wanted.format,
        content=wanted.content,
    )
    await tools.settle()
    name = re.sub(r"[^A-Za-z0-9.@_-]", "_", wanted.account)[:100]
    headers = {"Content-Disposition": f'attachment; filename="{name}.{wanted.format}"'}
    return Stream(pieces, media_type=_TYPES[wanted.format], headers=headers)


async def _order(request: Asked, tools: Tools, wanted: ErasureRequest) -> str:
    id_ = await order_erasure(
        tools.reader,
        tools.journal,
        tools.clock,
        wanted.account,
        typed=wanted.typed,
        by=request.user.by,
        reason=wanted.reason,
        keep_suspension=wanted.keep_suspension,
    )
    await tools.settle()
    return id_


PAGES = [export, data_page, erase, erasure_page]
API = [export_api, preview_api, erase_api, progress_api]
