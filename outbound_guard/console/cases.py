"""Area: cases. The list, one case, and all that is done in it, as pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from outbound_guard.console import case_api
from outbound_guard.console.access import Asked
from outbound_guard.console.case_api import exported, list_of_cases, may_see_originals, person_of
from outbound_guard.console.case_types import CaseItem, CaseShown
from outbound_guard.console.pages import go, link, page
from outbound_guard.console.query import CaseState
from outbound_guard.console.tools import GivenTools
from outbound_guard.desk.cases import acts, letters, merging
from outbound_guard.desk.cases.drafts import drafts
from outbound_guard.desk.cases.letters import ABOUT, OUTCOMES
from outbound_guard.desk.cases.numbers import numbers
from outbound_guard.desk.cases.originals import LARGEST
from outbound_guard.desk.cases.showing import case_and_history, case_show
from outbound_guard.desk.cases.stages import CAUSES, DAY, NAMES
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import case_lists, case_queries

PAGE = 50
SPANS = {"30": "30 days", "90": "90 days", "365": "a year", "0": "all time"}
_TYPES = {"text": "text/plain; charset=utf-8", "html": "text/html; charset=utf-8", "json": "application/json"}
_ENDS = {"text": "txt", "html": "html", "json": "json"}


@get("/cases", needs="read")
async def cases_page(
    request: Asked,
    tools: GivenTools,
    standing: CaseState = "open",
    stage: FromQuery[str] = "",
    owner: FromQuery[str] = "",
    text: FromQuery[str] = "",
    overdue: FromQuery[bool] = False,
    sort: FromQuery[Literal["opened", "due"]] = "opened",
    at: FromQuery[int] = 1,
) -> Response[str]:
    """The list."""
    at, now = min(max(at, 1), 100_000), tools.clock.now()
    query = {"state": standing, "stage": stage, "owner": owner, "text": text, "overdue": overdue, "sort": sort}
    found, total = await list_of_cases(
        tools, standing, stage, owner, text, overdue=overdue, by_due=sort == "due", limit=PAGE, offset=(at - 1) * PAGE
    )
    return page(
        request,
        "cases/list.html",
        cases=found,
        total=total,
        query=query,
        stages=await asyncio.to_thread(case_queries.stages, tools.reader, now),
        owners=await asyncio.to_thread(case_lists.owners, tools.reader),
        names=NAMES,
        first=(at - 1) * PAGE,
        previous=link("/cases", **query, at=at - 1) if at > 1 else "",
        next=link("/cases", **query, at=at + 1) if at * PAGE < total else "",
    )


@get("/cases/numbers", needs="read")
async def numbers_page(
    request: Asked, tools: GivenTools, days: FromQuery[Literal["30", "90", "365", "0"]] = "90"
) -> Response[str]:
    """How well cases are worked."""
    now = tools.clock.now()
    found = await numbers(tools.reader, now, since=now - int(days) * DAY if days != "0" else 0.0)
    return page(request, "cases/numbers.html", found=found, days=days, spans=SPANS)


@get("/cases/open", needs="cases")
async def open_page(
    request: Asked,
    subject: FromQuery[str] = "",
    source: FromQuery[str] = "",
    reason: FromQuery[str] = "",
) -> Response[str]:
    """The form to open one by hand."""
    return page(request, "cases/open.html", subject=subject, source=source, reason=reason)


@post("/cases/open", needs="cases")
async def open_case(request: Asked, tools: GivenTools) -> Redirect:
    """Open one by hand, or find the one that it belongs to."""
    field = await fields_of(request)
    person = person_of(tools, request)
    id_, what = await acts.open_case(person, field("subject"), source=field("source"), reason=field("reason"))
    await tools.settle()
    said = {"opened": "is open", "reopened": "is open again", "seen": "knows this now", "": "knows this already"}
    return go(f"/cases/{id_}", f"Case {id_} {said[what]}.")


@get("/cases/{id_:str}", needs="read")
async def case_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[str]:
    """Everything about one."""
    shown = msgspec.convert(await case_show(tools.reader, tools.config, tools.clock.now(), id_), CaseShown)
    return page(
        request,
        "cases/one.html",
        case=shown,
        checklist=_by_stage(shown.checklist),
        names=NAMES,
        causes=CAUSES,
        about=ABOUT,
        outcomes=OUTCOMES,
        originals=may_see_originals(tools, request),
        original_days=tools.config.cases.original_days,
        largest=LARGEST,
    )


@get("/cases/{id_:str}/draft", needs="cases")
async def draft_page(
    request: Asked,
    tools: GivenTools,
    id_: FromPath[str],
    letter: FromQuery[str] = "notice",
    to: FromQuery[str] = "",
    language: FromQuery[str] = "",
) -> Response[str]:
    """Letters to read, change and send."""
    case, history = await case_and_history(tools.reader, id_)
    try:
        found = await asyncio.to_thread(drafts, case, history, tools.config, letter, name=to, language=language)
        hindrance = ""
    except DeskError as error:
        found, hindrance = [], str(error)
    return page(
        request, "cases/draft.html", id=id_, title=case.title, letter=letter, to=to, drafts=found, hindrance=hindrance
    )


@get("/cases/{id_:str}/export", needs="read")
async def export_page(
    tools: GivenTools, id_: FromPath[str], form: FromQuery[Literal["text", "html", "json"]] = "text"
) -> Response[bytes]:
    """The case as one file to hand on."""
    content = await exported(tools, id_, form)
    headers = {"Content-Disposition": f'attachment; filename="case-{_plain(id_)}.{_ENDS[form]}"'}
    return Response(content, media_type=_TYPES[form], headers=headers)


@post("/cases/{id_:str}/original", needs="read", status_code=200)
async def original(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[bytes]:
    """An original, for those who may see it. It is a form, since it stands in the audit who has seen it."""
    event = (await fields_of(request))("event")
    content = await case_api.original_of(tools, request, id_, event)
    headers = {"Content-Disposition": f'attachment; filename="original-{_plain(event)}.txt"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


@post("/cases/{id_:str}/{act:str}", needs="cases")
async def act(request: Asked, tools: GivenTools, id_: FromPath[str], act: FromPath[str]) -> Redirect:
    """One of the acts of `case` on the command line."""
    field = await fields_of(request)
    person, do = person_of(tools, request), _ACTS.get(act)
    if do is None:
        raise DeskError(f"nothing called {act} can be done with a case")
    said = await do(person, id_, field, await request.form())
    await tools.settle()
    return go(f"/cases/{id_}#{_PLACES.get(act, 'main')}", said)


async def fields_of(request: Request[Any, Any, Any]) -> Callable[[str], str]:
    """The text fields of the form that was sent, each without spaces around it; empty if it is not there."""
    form = await request.form()

    def field(name: str) -> str:
        value = form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    return field


async def _take(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    event = await acts.take(person, id_, field("owner"))
    return f"The {event.text}."


async def _note(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    await acts.note(person, id_, field("text"))
    return "The comment is kept, without personal contact data."


async def _look(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    _, events = await acts.look(person, id_, again=bool(field("again")))
    return "; ".join(event.text for event in events)[:400] or "There is nothing new to be found."


async def _check(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    state, item = field("state") or "done", field("item")
    accounts = tuple(line.strip() for line in field("accounts").replace(",", "\n").splitlines() if line.strip())
    finding = {"finding": field("finding"), "cause": field("cause"), "accounts": accounts} if item == "cause" else {}
    await acts.check(
        person, id_, item, field("text"), needed=state != "not needed", done=state != "open",
        **(finding if state == "done" else {}),  # type: ignore[arg-type] # two texts and a tuple, by name
    )  # fmt: skip
    return f"{item} is {state}." if state != "open" else f"{item} is open again."


async def _advance(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    event = await acts.advance(person, id_, to=field("to"), reason=field("reason"))
    return f"It goes on: {event.text}." if not field("to") else f"It is {event.text}"


async def _contact(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    text = await _letter(field, form)
    await letters.contact(person, id_, _party(field), channel=field("channel"), about=field("about"), text=text)
    return f"The contact with {_party(field)} is kept."


async def _answer(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    text, outcome = await _letter(field, form), field("outcome") or "other"
    await letters.answer(person, id_, _party(field), channel=field("channel"), outcome=outcome, text=text)
    return f"The answer of {_party(field)} is kept."


async def _attach(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    file = form.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        raise DeskError("choose a file first")
    await letters.attach(person, id_, _file_name(file.filename), await file.read(LARGEST + 1))
    return "The file is kept: its redacted text here, the original for a while."


async def _close(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    await acts.close(person, id_, field("summary"), unfinished=field("unfinished"))
    return "The case is closed."


async def _reopen(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    await acts.reopen(person, id_, field("reason"))
    return "The case is open again, and begins with verify."


async def _merge(person: Any, id_: str, field: Callable[[str], str], form: Any) -> str:
    await merging.merge(person, id_, field("into"))
    return f"It goes on as case {field('into')}."


_ACTS = {
    "take": _take,
    "note": _note,
    "look": _look,
    "check": _check,
    "advance": _advance,
    "contact": _contact,
    "answer": _answer,
    "attach": _attach,
    "close": _close,
    "reopen": _reopen,
    "merge": _merge,
}
_PLACES = {"note": "history", "contact": "papers", "answer": "papers", "attach": "papers", "check": "checklist"}
"""Where on the page it shows what was done."""


async def _letter(field: Callable[[str], str], form: Any) -> bytes:
    """The letter itself, if it was given: a file, else the text."""
    file = form.get("file")
    if isinstance(file, UploadFile) and file.filename:
        return await file.read(LARGEST + 1)
    return field("text").encode()


def _party(field: Callable[[str], str]) -> str:
    """With whom: one of those offered, or the customer that was typed."""
    return field("party") or (f"customer:{field('customer')}" if field("customer") else "")


def _file_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2][:100] or "file"


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum() or letter in "-_")


def _by_stage(checklist: list[CaseItem]) -> dict[str, list[CaseItem]]:
    found: dict[str, list[CaseItem]] = {}
    for item in checklist:
        found.setdefault(item.stage, []).append(item)
    return found


PAGES = [
    cases_page, numbers_page, open_page, open_case, case_page, draft_page, export_page, original, act,
]  # fmt: skip
API = case_api.API
