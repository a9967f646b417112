"""Area: the content of a message in the spool, safe to look at. What is opened is written down, once a person."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from litestar import Response, get
from litestar.enums import MediaType
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held.elsewhere import elsewhere
from outbound_guard.desk.reading.frame import HEADERS, frame
from outbound_guard.desk.reading.markup import Target
from outbound_guard.desk.reading.message import Field, Part, Reading, read
from outbound_guard.desk.reading.opening import content_of

_NO_LIFE = {
    # Whatever opens it in the browser all the same: nothing of it may run or be fetched.
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A message as people may look at it. Controls and marks that turn text are replaced by what names them."""

    id: str
    size: int
    """Octets."""
    sha256: str
    subject: str
    fields: tuple[Field, ...]
    """The header, in its order."""
    text: str
    """Its text; of a message that has only HTML, what the reader of the HTML sees."""
    text_of_html: bool
    source: str
    """The HTML as it is written: text, not to be shown as HTML."""
    targets: tuple[Target, ...]
    """Where its links lead."""
    parts: tuple[Part, ...]
    """The tree of its MIME parts."""
    notes: tuple[str, ...]
    """What is odd about it, and what it hides."""


async def _opened(tools: Tools, id_: str, by: str) -> bytes:
    try:
        content, first = await content_of(tools.reader, tools.journal, tools.spool, tools.clock, id_, by=by)
    except DeskError as error:
        place = (await asyncio.to_thread(elsewhere, tools.reader, tools.config, [id_])).get(id_)
        if place is None:
            raise
        raise DeskError(f"{id_} lies on {place.said}: its content is to be seen there") from error
    if first:
        # So that the frame and the download that follow find it written down.
        await tools.settle()
    return content


async def _read(tools: Tools, id_: str, by: str) -> Reading:
    return await asyncio.to_thread(read, await _opened(tools, id_, by))


@get("/held/{id_:str}/content", needs="content")
async def content_api(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Content:
    """The content of a message in the spool: header, text, links and parts, made safe to look at."""
    reading = await _read(tools, id_, request.user.by)
    shown = {name: getattr(reading, name) for name in Content.__struct_fields__ if name != "id"}
    return Content(id=id_, **shown)


@get(
    "/held/{id_:str}/raw",
    needs="content",
    media_type="message/rfc822",
    responses={200: ResponseSpec(data_container=bytes, description="The message", media_type="message/rfc822")},
)
async def raw(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[bytes]:
    """The message, octet for octet, to be saved; open it only where it can do no harm."""
    content = await _opened(tools, id_, request.user.by)
    # An id is made of letters and digits; nothing else gets into the file's name.
    name = re.sub(r"[^0-9A-Za-z]", "", id_)[:64]
    headers = _NO_LIFE | {"Content-Disposition": f'attachment; filename="{name}.eml"'}
    return Response(content, media_type="message/rfc822", headers=headers)


@get("/held/{id_:str}/frame", needs="content")
async def frame_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[str]:
    """The document that shows the message in its iframe."""
    reading = await _read(tools, id_, request.user.by)
    return Response(await asyncio.to_thread(frame, reading), media_type=MediaType.HTML, headers=_frame_headers())


@get("/held/{id_:str}/content", needs="content")
async def content_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[str]:
    """The content of a message: what its reader sees, its text, header, links and parts."""
    reading = await _read(tools, id_, request.user.by)
    return page(request, "content/one.html", id=id_, reading=reading)


def _frame_headers() -> dict[str, str]:
    return {name: value for name, value in HEADERS.items() if name != "Content-Type"}


PAGES = [content_page, frame_page, raw]
API: list[Any] = [content_api, raw]
