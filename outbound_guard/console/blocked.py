"""Area: "we are blocked", a box to paste a bounce into; and the texts that answers and letters are made readable with.

What is pasted is not kept, not logged, and in no page's address: so the answer to the form is the page itself.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.datastructures import UploadFile
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.blocked.answers import classified
from outbound_guard.desk.blocked.here import told
from outbound_guard.desk.blocked.pasted import LONGEST
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.redaction.redact import redact

MOST_LINES = 1_000
REDACTED = 100_000
"""Characters that are redacted in one call; it takes about a second."""


class Paste(msgspec.Struct, frozen=True, kw_only=True):
    """A bounce, the text of one, log lines, an address or a domain."""

    text: str
    ask: Literal["needed", "always", "never"] = "needed"
    """Whether the lists are asked now: if nothing is known, in any case, or not at all."""


class CaseNow(msgspec.Struct, frozen=True):
    """An open case about the address."""

    id: str
    stage: str


class CaseToOpen(msgspec.Struct, frozen=True):
    """What a case would be opened with."""

    subject: str
    list: str
    reason: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, on whose side, and what to do next."""

    class_: str = msgspec.field(name="class")
    provider: str | None
    list: str | None
    side: str
    """provider: ours | customer | recipient | receiver: the other server."""
    address: str | None
    next: str
    certain: bool
    """False: no rule knows the answer."""
    rule: str
    answer: str
    """What the other server said, redacted."""
    customer: str
    """A text for the customer."""
    channel: dict[str, Any] | None
    """The official channel of the list or receiver."""
    listings: tuple[dict[str, Any], ...]
    """What lists say of the address."""
    step: str
    """case | open_case | account | none"""
    cases: tuple[CaseNow, ...]
    open_case: CaseToOpen | None
    account: str
    """The customer whose mail it was; empty if that is not known."""
    redacted: str
    """What was pasted, without personal contact data."""


class Lines(msgspec.Struct, frozen=True):
    """Answers of SMTP servers, one a line, as they stand in logs and bounces."""

    lines: list[str]


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer means."""

    class_: str = msgspec.field(name="class")
    provider: str | None
    rule: str | None
    side: str
    advice: str
    code: int | None
    enhanced: str | None


class Classes(msgspec.Struct, frozen=True):
    """What the answers mean, in their order."""

    items: list[Classified]


class Text(msgspec.Struct, frozen=True):
    """A text."""

    text: str


class Redacted(msgspec.Struct, frozen=True):
    """The text without personal contact data."""

    text: str
    changed: bool


async def _told(tools: Tools, text: str, ask: Literal["needed", "always", "never"]) -> Told:
    if not text.strip():
        raise DeskError("paste a bounce, log lines, an address or a domain")
    asking = tools.watch.asking if tools.watch else None
    found = await told(text[:LONGEST], tools.config, tools.reader, tools.clock, ask=ask, asking=asking)
    return msgspec.convert(found, Told)


@post("/blocked", needs="read", status_code=HTTP_200_OK)
async def blocked_api(tools: GivenTools, data: JSONBody[Paste]) -> Told:
    """Say what a bounce, log lines, an address or a domain mean; nothing of it is kept."""
    return await _told(tools, data.text, data.ask)


@post("/classify", needs="read", status_code=HTTP_200_OK)
async def classify_api(data: JSONBody[Lines]) -> Classes:
    """Say what SMTP answers mean, at most 1,000 at a time."""
    if len(data.lines) > MOST_LINES:
        raise DeskError(f"at most {MOST_LINES} lines at a time")
    found = await asyncio.to_thread(lambda: [classified(line) for line in data.lines])
    return Classes(msgspec.convert(found, list[Classified]))


@post("/redact", needs="read", status_code=HTTP_200_OK)
async def redact_api(data: JSONBody[Text]) -> Redacted:
    """Take personal contact data out of a text of at most 100,000 characters; role addresses stay."""
    if len(data.text) > REDACTED:
        raise DeskError(f"at most {REDACTED} characters at a time")
    text = await asyncio.to_thread(redact, data.text)
    return Redacted(text, text != data.text)


@get("/blocked", needs="read", sync_to_thread=False)
def box(request: Asked) -> Response[str]:
    """The box."""
    return page(request, "blocked/box.html", found=None, error="", ask="needed")


@post("/blocked", needs="read", status_code=HTTP_200_OK)
async def pasted(request: Asked, tools: GivenTools) -> Response[str]:
    """What it means."""
    form = await request.form()
    given, file, asked = form.get("text", ""), form.get("file"), form.get("ask")
    text = given if isinstance(given, str) else ""
    if not text.strip() and isinstance(file, UploadFile) and file.filename:
        text = _decoded(await file.read(LONGEST))
    ask: Literal["needed", "always", "never"] = "always" if asked == "always" else "needed"
    try:
        found, error = await _told(tools, text, ask), ""
    except DeskError as refused:
        found, error = None, str(refused)
    return page(request, "blocked/box.html", found=found, error=error, ask=ask)


def _decoded(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        # Old mail is seldom anything else, and every octet has a letter there.
        return octets.decode("latin-1")


PAGES = [box, pasted]
API = [blocked_api, classify_api, redact_api]
