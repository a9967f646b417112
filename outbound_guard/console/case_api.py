"""Cases as the API has them: the acts of the command line `case`, each one call."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from outbound_guard.console import case_types as types
from outbound_guard.console.access import Asked
from outbound_guard.console.query import CaseState
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.cases import acts, letters, merging
from outbound_guard.desk.cases.drafts import drafts
from outbound_guard.desk.cases.export import as_html, as_json, as_text
from outbound_guard.desk.cases.numbers import numbers
from outbound_guard.desk.cases.originals import Originals
from outbound_guard.desk.cases.person import Person
from outbound_guard.desk.cases.showing import case_and_history, case_list, case_show
from outbound_guard.desk.cases.stages import DAY
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import case_lists
from outbound_guard.ledger.case_lists import CaseFilters
from outbound_guard.ledger.records import CaseEvent

MOST = 200
"""Cases of one page."""


def person_of(tools: Tools, request: Asked) -> Person:
    """Who acts, with what for that is needed."""
    return Person(tools.reader, tools.journal, tools.clock, tools.config, request.user.by)


def may_see_originals(tools: Tools, request: Asked) -> bool:
    """True if who asks is named in `cases.original_readers` as `console:NAME`; a token needs the scope as well."""
    acting = request.user
    return Originals(tools.config).may_read(acting.by) and (not acting.token or acting.may("originals"))


async def original_of(tools: Tools, request: Asked, id_: str, event: str) -> bytes:
    """An original; that it was seen stands in the audit. Raises DeskError, LedgerError."""
    if request.user.token and not request.user.may("originals"):
        raise DeskError("this token has not the scope `originals`")
    content = await letters.original(person_of(tools, request), id_, event)
    await tools.settle()
    return content


async def list_of_cases(
    tools: Tools,
    state: str,
    stage: str,
    owner: str,
    text: str,
    *,
    overdue: bool,
    by_due: bool,
    limit: int,
    offset: int,
) -> tuple[list[dict[str, Any]], int]:
    """A page of cases, and how many fit. `state` open, closed or all. Raises LedgerError."""
    now = tools.clock.now()
    filters = CaseFilters(
        state="" if state == "all" else state,
        stage=stage,
        owner=owner,
        text=text,
        overdue_at=now if overdue else 0.0,
    )
    found = await case_list(tools.reader, now, filters, by_due=by_due, limit=limit, offset=offset)
    return found, await asyncio.to_thread(case_lists.number_found, tools.reader, filters)


async def exported(tools: Tools, id_: str, form: str) -> bytes:
    """The case as a document: `form` text, html or json. Raises DeskError, LedgerError."""
    now = tools.clock.now()
    shown = await case_show(tools.reader, tools.config, now, id_)
    if form == "json":
        return msgspec.json.encode(await asyncio.to_thread(as_json, shown, now))
    return (await asyncio.to_thread(as_html if form == "html" else as_text, shown, now)).encode()


async def _done(tools: Tools, event: CaseEvent) -> types.CaseDone:
    """What was done, as soon as the ledger has it."""
    await tools.settle()
    return types.CaseDone(
        id=event.case,
        event=event.id,
        what=event.what,
        text=event.text,
        time=event.time,
        original=event.data.get("original", ""),
    )


@get("/cases", needs="read")
async def cases_api(
    tools: GivenTools,
    standing: CaseState = "open",
    stage: FromQuery[str] = "",
    owner: FromQuery[str] = "",
    text: FromQuery[str] = "",
    overdue: FromQuery[bool] = False,
    sort: FromQuery[Literal["opened", "due"]] = "opened",
    limit: FromQuery[int] = 50,
    offset: FromQuery[int] = 0,
) -> types.CaseList:
    """Cases: `state` open, closed or all; the newest first, or what is due first."""
    found, total = await list_of_cases(
        tools, standing, stage, owner, text,
        overdue=overdue, by_due=sort == "due", limit=min(max(limit, 1), MOST), offset=min(max(offset, 0), 2**31),
    )  # fmt: skip
    return types.CaseList(items=msgspec.convert(found, list[types.CaseLine]), total=total)


@get("/cases/numbers", needs="read")
async def numbers_api(tools: GivenTools, days: FromQuery[float] = 90.0) -> dict[str, Any]:
    """How well cases of the last `days` (0: all) are worked: times, causes, what came back."""
    now = tools.clock.now()
    return await numbers(tools.reader, now, since=now - days * DAY if days > 0 else 0.0)


@post("/cases", needs="cases", status_code=HTTP_201_CREATED)
async def open_api(request: Asked, tools: GivenTools, data: JSONBody[types.CaseOpen]) -> types.CaseDone:
    """Open a case by hand, or find the one that it belongs to."""
    person = person_of(tools, request)
    id_, what = await acts.open_case(person, data.subject, source=data.list, reason=data.reason)
    await tools.settle()
    return types.CaseDone(id=id_, what=what, time=tools.clock.now())


@get("/cases/{id_:str}", needs="read")
async def case_one_api(tools: GivenTools, id_: FromPath[str]) -> types.CaseShown:
    """Everything about a case."""
    shown = await case_show(tools.reader, tools.config, tools.clock.now(), id_)
    return msgspec.convert(shown, types.CaseShown)


@post("/cases/{id_:str}/take", needs="cases", status_code=HTTP_200_OK)
async def take_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseTake]
) -> types.CaseDone:
    """Make somebody its owner."""
    event = await acts.take(person_of(tools, request), id_, data.owner)
    return await _done(tools, event)


@post("/cases/{id_:str}/note", needs="cases", status_code=HTTP_200_OK)
async def note_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseNote]
) -> types.CaseDone:
    """Write a comment."""
    event = await acts.note(person_of(tools, request), id_, data.text)
    return await _done(tools, event)


@post("/cases/{id_:str}/look", needs="cases", status_code=HTTP_200_OK)
async def look_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], again: FromQuery[bool] = False
) -> types.CaseShown:
    """Have the machine look for what it can find, `again` for what it has found; the case as it is then."""
    await acts.look(person_of(tools, request), id_, again=again)
    await tools.settle()
    shown = await case_show(tools.reader, tools.config, tools.clock.now(), id_)
    return msgspec.convert(shown, types.CaseShown)


@post("/cases/{id_:str}/check", needs="cases", status_code=HTTP_200_OK)
async def check_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseCheckOff]
) -> types.CaseDone:
    """Tick an item off, say why it is not needed, or open it again."""
    event = await acts.check(
        person_of(tools, request),
        id_,
        data.item,
        data.text,
        needed=data.state != "not needed",
        done=data.state != "open",
        finding=data.finding,
        cause=data.cause,
        accounts=tuple(data.accounts),
    )
    return await _done(tools, event)


@post("/cases/{id_:str}/advance", needs="cases", status_code=HTTP_200_OK)
async def advance_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseAdvance]
) -> types.CaseDone:
    """Go on to the next stage, or back to an earlier one."""
    event = await acts.advance(person_of(tools, request), id_, to=data.to, reason=data.reason)
    return await _done(tools, event)


@get("/cases/{id_:str}/drafts", needs="cases")
async def drafts_api(
    tools: GivenTools,
    id_: FromPath[str],
    letter: FromQuery[str],
    to: FromQuery[str] = "",
    language: FromQuery[str] = "",
) -> types.CaseDrafts:
    """Letters to read, change and send: notice, apology, update, advice, appeal, escalation."""
    case, history = await case_and_history(tools.reader, id_)
    found = await asyncio.to_thread(drafts, case, history, tools.config, letter, name=to, language=language)
    return types.CaseDrafts(msgspec.convert(msgspec.to_builtins(found), list[types.CaseDraft]))


@post("/cases/{id_:str}/contact", needs="cases", status_code=HTTP_200_OK)
async def contact_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseContact]
) -> types.CaseDone:
    """Write down that somebody was written to or called."""
    event = await letters.contact(
        person_of(tools, request), id_, data.party, channel=data.channel, about=data.about, text=data.text.encode()
    )
    return await _done(tools, event)


@post("/cases/{id_:str}/answer", needs="cases", status_code=HTTP_200_OK)
async def answer_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseAnswer]
) -> types.CaseDone:
    """Write down what somebody answered."""
    event = await letters.answer(
        person_of(tools, request), id_, data.party, channel=data.channel, outcome=data.outcome, text=data.text.encode()
    )
    return await _done(tools, event)


@post("/cases/{id_:str}/attach", needs="cases", status_code=HTTP_200_OK)
async def attach_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseFile]
) -> types.CaseDone:
    """Add a file as evidence."""
    event = await letters.attach(person_of(tools, request), id_, data.name, data.content)
    return await _done(tools, event)


@post("/cases/{id_:str}/original", needs="read", status_code=HTTP_200_OK)
async def original_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseOriginal]
) -> types.CaseOriginalText:
    """An original, for those whom `cases.original_readers` names; it stands in the audit who has seen it."""
    content = await original_of(tools, request, id_, data.event)
    return types.CaseOriginalText(data.event, content.decode("utf-8", "replace"))


@get("/cases/{id_:str}/export", needs="read")
async def export_api(
    tools: GivenTools, id_: FromPath[str], form: FromQuery[Literal["text", "html", "json"]] = "json"
) -> types.CaseExport:
    """The case as one document to hand on, without personal contact data."""
    content = await exported(tools, id_, form)
    if form == "json":
        return types.CaseExport(id=id_, form=form, document=msgspec.json.decode(content))
    return types.CaseExport(id=id_, form=form, text=content.decode())


@post("/cases/{id_:str}/close", needs="cases", status_code=HTTP_200_OK)
async def close_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseClose]
) -> types.CaseDone:
    """Close it, with a summary."""
    event = await acts.close(person_of(tools, request), id_, data.summary, unfinished=data.unfinished)
    return await _done(tools, event)


@post("/cases/{id_:str}/reopen", needs="cases", status_code=HTTP_200_OK)
async def reopen_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseReopen]
) -> types.CaseDone:
    """Open a closed one again."""
    event = await acts.reopen(person_of(tools, request), id_, data.reason)
    return await _done(tools, event)


@post("/cases/{id_:str}/merge", needs="cases", status_code=HTTP_200_OK)
async def merge_api(
    request: Asked, tools: GivenTools, id_: FromPath[str], data: JSONBody[types.CaseMerge]
) -> types.CaseDone:
    """Close it as part of another open case, which takes over what it is about."""
    event = await merging.merge(person_of(tools, request), id_, data.into)
    return await _done(tools, event)


API = [
    cases_api,
    numbers_api,
    open_api,
    case_one_api,
    take_api,
    note_api,
    look_api,
    check_api,
    advance_api,
    drafts_api,
    contact_api,
    answer_api,
    attach_api,
    original_api,
    export_api,
    close_api,
    reopen_api,
    merge_api,
]
