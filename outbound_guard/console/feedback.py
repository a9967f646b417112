"""Area: feedback. What the world answers later, handed in by programs, and what of it was found."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import msgspec
from litestar import Response, get, post
from litestar.exceptions import HTTPException
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromQuery

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.feedback import Intake, TooMany, take, take_lines, take_records
from outbound_guard.ledger import feedback_queries
from outbound_guard.ledger.database import LedgerError

PAGE = 100
MOST = 1000
"""Findings of an answer of the API."""
_DAY = 86_400.0
_REPORTS = ("message/rfc822", "message/global")
_RECORDS = ("application/json", "application/x-ndjson", "application/jsonl", "application/ndjson")
_LINES = ("text/plain",)
_RECORDS_SIZE = 1_048_576
"""Octets: what is decoded in one go keeps other work of the process waiting."""

_T = TypeVar("_T")
Kind = Literal["", "complaint", "bounce", "delivery", "unattributed"]


class ReportTaken(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a report."""

    result: str
    """counted | recorded (shown, without effect) | repeated | unattributed | other (it is no report)"""
    kind: str
    """complaint | bounce | other"""
    form: str
    """arf | dsn | text | forwarded; empty: none of these."""
    class_: str = msgspec.field(name="class")
    message: str
    """Our id of the message it is about; empty if that was not found."""


class RecordsTaken(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of records or lines, in numbers."""

    matched: int = 0
    unmatched: int = 0
    """About no message of ours."""
    other: int = 0
    """About something else."""
    passed_on: int = 0
    """To a filter of the next hop's own."""
    broken: int = 0
    new: int = 0
    """Findings that were not known yet."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said about a message at one recipient."""

    serial: int
    time: float
    kind: str
    class_: str = msgspec.field(name="class")
    outcome: str
    account: str
    sender: str
    recipient: str
    message: str
    source: str
    proof: str
    counts: bool
    code: int
    enhanced: str
    detail: str
    peer: str
    final: bool


class Findings(msgspec.Struct, frozen=True):
    """What was found, the newest first."""

    items: list[Finding]
    next: int
    """Give it as `below` to go on; 0: that was all."""


_TEXT, _RECORD = Schema(type=OpenAPIType.STRING), Schema(type=OpenAPIType.OBJECT)
_JSON = Schema(any_of=[_RECORD, Schema(type=OpenAPIType.ARRAY, items=_RECORD)])


def _body(*types: str) -> type[Operation]:
    """How a call is described whose body is one text of these types."""

    @dataclass
    class Described(Operation):
        """A call with a body that is taken as it is."""

        def __post_init__(self) -> None:
            content = {one: OpenAPIMediaType(schema=_JSON if one == "application/json" else _TEXT) for one in types}
            self.request_body = RequestBody(content=content, required=True)

    return Described


@post("/feedback/report", needs="feedback", status_code=200, operation_class=_body(*_REPORTS))
async def report_api(request: Asked, tools: GivenTools) -> ReportTaken:
    """Hand in a complaint (ARF, or a message of ours that was forwarded) or a bounce (DSN), as it came, as one message.

    It counts if our token in it proves that it is about a message of ours. Written down when this answers. 503: the
    ledger cannot be asked, or does not know a message yet that left a moment ago; hand it in again.
    """
    intake = _intake(tools)
    content = await _content(request, _REPORTS, intake.most)
    taken = await _kept(lambda: take(content, intake, source=_source(request)))
    if taken.result == "unreadable":
        raise HTTPException(status_code=422, detail="this report cannot be read")
    if taken.result == "early":
        raise HTTPException(status_code=503, detail="its message left a moment ago; hand the report in again")
    plain = taken.plain
    return ReportTaken(
        result=taken.result,
        kind=taken.report.kind,
        form=taken.report.form,
        class_=str(plain["class"]),
        message=str(plain["message"]),
    )


@post("/feedback/records", needs="feedback", status_code=200, operation_class=_body(*_RECORDS))
async def records_api(request: Asked, tools: GivenTools) -> RecordsTaken:
    """Hand in records of a next hop in KumoMTA's shape: one object, an array, or JSON lines; at most 1000.

    They count as what a next hop of ours says: give this scope only to programs that may say so.
    """
    intake = _intake(tools)
    content = await _content(request, _RECORDS, _RECORDS_SIZE)
    counts = await _kept(lambda: take_records(content, intake, source=_source(request)))
    if counts["broken"] and counts["broken"] == counts.total():
        raise HTTPException(status_code=422, detail="there is no record in this: JSON objects are expected")
    return _numbers(counts)


@post("/feedback/postfix", needs="feedback", status_code=200, operation_class=_body(*_LINES))
async def lines_api(request: Asked, tools: GivenTools) -> RecordsTaken:
    """Hand in lines of the log of a Postfix that is a next hop of ours, in their order; at most 5000.

    They count as what a next hop of ours says. Lines of other services are passed over.
    """
    intake = _intake(tools)
    content = await _content(request, _LINES, _RECORDS_SIZE)
    return _numbers(await _kept(lambda: take_lines(content, intake, source=_source(request))))


@get("/feedback", needs="read")
async def list_api(
    tools: GivenTools,
    account: FromQuery[str] = "",
    message: FromQuery[str] = "",
    kind: FromQuery[Kind] = "",
    below: FromQuery[int] = 0,
    limit: FromQuery[int] = PAGE,
) -> Findings:
    """What complaints, bounces, and logs of next hops have said, the newest first; at most 1000."""
    limit = min(max(limit, 1), MOST)
    rows, more = await _found(tools, account, message, kind, below, limit)
    names = Finding.__struct_fields__
    items = [Finding(**{name: row["class" if name == "class_" else name] for name in names}) for row in rows]
    return Findings(items, more)


@get("/feedback", needs="read")
async def list_page(
    request: Asked,
    tools: GivenTools,
    account: FromQuery[str] = "",
    message: FromQuery[str] = "",
    kind: FromQuery[Kind] = "",
    below: FromQuery[int] = 0,
) -> Response[str]:
    """What came in."""
    rows, more = await _found(tools, account.strip(), message.strip(), kind, below, PAGE)
    numbers = await asyncio.to_thread(feedback_queries.numbers, tools.reader, tools.clock.now() - _DAY)
    query = {"account": account.strip(), "message": message.strip(), "kind": kind}
    return page(
        request,
        "feedback/list.html",
        rows=rows,
        numbers=numbers,
        query=query,
        kinds=get_args(Kind),
        first_page=link("/feedback", **query) if below else "",
        next_page=link("/feedback", **query, below=more) if more else "",
        keep_days=tools.config.retention.deliveries,
    )


async def _found(
    tools: Tools, account: str, message: str, kind: str, below: int, limit: int
) -> tuple[list[feedback_queries.Row], int]:
    """A page of findings, and below which number the next one begins; 0: there is none."""
    unattributed = kind == "unattributed"
    rows = await asyncio.to_thread(
        feedback_queries.findings,
        tools.reader,
        account=account,
        message=message,
        kind="" if unattributed else kind,
        unattributed=unattributed,
        below=max(below, 0),
        limit=limit + 1,
    )
    return rows[:limit], rows[limit - 1]["serial"] if len(rows) > limit else 0


def _intake(tools: Tools) -> Intake:
    if tools.feedback is None:
        raise LedgerError("reports are not taken in by this process")
    return tools.feedback


def _source(request: Asked) -> str:
    return f"api {request.user.by}"


async def _content(request: Asked, types: tuple[str, ...], most: int) -> bytes:
    """What was sent. Raises HTTPException."""
    if request.content_type[0].lower() not in types:
        raise HTTPException(status_code=415, detail=f"Content-Type must be {' or '.join(types)}")
    too_large = HTTPException(status_code=413, detail=f"at most {most} octets are taken")
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:20]) > most:
        raise too_large
    content = await request.body()
    if len(content) > most:
        raise too_large
    return content


async def _kept(work: Callable[[], Awaitable[_T]]) -> _T:
    """What `work` returns. Raises HTTPException where it is too much, LedgerError where it cannot be kept now."""
    try:
        return await work()
    except TooMany as error:
        raise HTTPException(status_code=413, detail="too many at a time; send them in portions") from error
    except OSError as error:
        raise LedgerError(f"what was handed in cannot be written down: {error}") from error


def _numbers(counts: Counter[str]) -> RecordsTaken:
    return RecordsTaken(**{name: counts[name] for name in RecordsTaken.__struct_fields__})


PAGES: list[Any] = [list_page]
API: list[Any] = [report_api, records_api, lines_api, list_api]
