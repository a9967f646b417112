"""Area: accounts. Acts on accounts and senders, each confirmed before, and notes."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.config import ConfigError, Limit, Policy, policy_of, pools_of
from outbound_guard.console.access import Asked
from outbound_guard.console.moments import moment_of
from outbound_guard.console.pages import back, go, link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.accounts.acts import DAY, Act, Subject, decide
from outbound_guard.desk.accounts.entries import add_note, remove_note
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger.records import Note, Standing
from outbound_guard.state import StateDown

What = Literal["suspend", "resume", "limit", "exempt", "probation", "pin", "unpin"]
WORDS = {
    "suspend": ("Suspend", "All mail is refused from now on: 525 at AUTH, 550 at MAIL. What is held stays held."),
    "resume": ("Resume", "Mail is taken again, and the suspicion is cleared."),
    "limit": ("Limit", "Its own limits take the place of the inherited ones; an empty field inherits."),
    "exempt": ("Exempt", "Mail is neither held nor refused until then, whatever the signals say."),
    "probation": ("Put on probation", "Thresholds are lower and limits small until then."),
    "pin": ("Pin to a pool", "Its mail leaves by that egress pool, whatever its class."),
    "unpin": ("Unpin", "Its mail leaves by the pool of its class again."),
}
DONE = {
    "suspend": "suspended",
    "resume": "resumed",
    "limit": "given limits of their own",
    "exempt": "exempted",
    "probation": "on probation",
    "pin": "pinned",
    "unpin": "no longer pinned",
}


class OneSubject(msgspec.Struct, frozen=True):
    """An account or a sender."""

    scope: Literal["account", "sender"]
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]


class ActRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, and with whom."""

    subjects: Annotated[list[OneSubject], msgspec.Meta(min_length=1, max_length=1000)]
    what: What
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    until: Annotated[float, msgspec.Meta(ge=0, le=1e11)] | None = None
    """Unix seconds. Of suspend: when it ends by itself, 0 or nothing: not. Of resume: when the probation ends; nothing:
    as the policy says; 0: there is none. Of exempt and probation: the end; now or earlier ends it at once."""
    limits: dict[str, int] = {}
    """Of limit: `messages_per_hour` and the like; empty: the inherited ones again."""
    pool: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Of pin: the egress pool."""


class Decided(msgspec.Struct, frozen=True):
    """What was recorded."""

    items: list[Standing]
    remarks: list[str]
    """What was not done besides."""


class NewNote(msgspec.Struct, frozen=True, kw_only=True):
    """A note to be written down."""

    scope: Literal["account", "sender"]
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]


class NoteForm(msgspec.Struct):
    """A note, or one to be removed."""

    scope: str = ""
    subject: str = ""
    text: str = ""
    id: str = ""


@post("/accounts/act", needs="accounts", status_code=200)
async def act_api(request: Asked, tools: GivenTools, data: JSONBody[ActRequest]) -> Decided:
    """Suspend, resume, limit, exempt, put on probation, pin or unpin: accounts or senders, all or none of them."""
    now = tools.clock.now()
    until = data.until or 0.0
    if data.what == "resume" and data.until is None:
        until = now + await _probation(tools) * DAY
    act = Act(what=data.what, by=request.user.by, reason=data.reason, until=until, limits=data.limits, pool=data.pool)
    standings, remarks = await _carry_out(tools, [(one.scope, one.subject) for one in data.subjects], act)
    return Decided(items=standings, remarks=remarks)


@post("/accounts/notes", needs="accounts")
async def note_api(request: Asked, tools: GivenTools, data: JSONBody[NewNote]) -> Note:
    """Write something down about an account or a sender."""
    note = await add_note(
        tools.reader, tools.journal, tools.clock, data.scope, data.subject, data.text, by=request.user.by
    )
    await tools.settle()
    return note


@delete("/accounts/notes/{id:str}", needs="accounts", status_code=200)
async def note_removed_api(request: Asked, tools: GivenTools, id: FromPath[str]) -> Note:
    """Remove a note; this answers with what it said."""
    note = await remove_note(tools.reader, tools.journal, tools.clock, id, by=request.user.by)
    await tools.settle()
    return note


@get("/accounts/act", needs="accounts")
async def confirm_page(
    request: Asked,
    tools: GivenTools,
    what: FromQuery[str],
    of: FromQuery[str] = "account",
    subject: FromQuery[list[str] | None] = None,
) -> Response[str]:
    """What an act will do, to be confirmed: with its reason and its end. `of`: account or sender."""
    return await _confirm(request, tools, what, of, subject or [])


@post("/accounts/choose", needs="accounts", status_code=200)
async def chosen_page(request: Asked, tools: GivenTools) -> Response[str]:
    """The same for those that were chosen in a list."""
    form = await request.form()
    return await _confirm(
        request, tools, str(form.get("what", "")), str(form.get("scope", "account")), _strings(form, "subject")
    )


@post("/accounts/act", needs="accounts")
async def act(request: Asked, tools: GivenTools) -> Redirect:
    """Carries an act out."""
    form = {name: str(value) for name, value in (await request.form()).items() if isinstance(value, str)}
    scope, what = form.get("scope", ""), form.get("what", "")
    subjects = [(scope, name) for name in _strings(await request.form(), "subject")]
    limits = {name: _number(form.get(name, "")) for name in Limit.__struct_fields__} if what == "limit" else {}
    ends = bool(form.get("end"))
    until = tools.clock.now() if ends else _until(form, tools.clock.now())
    reason = form.get("reason", "").strip() or ("ended" if ends else "")
    decided = Act(what=what, by=request.user.by, reason=reason, until=until, limits=limits, pool=form.get("pool", ""))
    _, remarks = await _carry_out(tools, subjects, decided)
    done = "ended" if ends else DONE[what]
    said = f"{subjects[0][1] if len(subjects) == 1 else len(subjects)}: {done}. {' '.join(remarks)}"
    if len(subjects) > 1:
        return go("/accounts", said, bad=bool(remarks))
    return go(one_of(*subjects[0]), said, bad=bool(remarks))


@post("/accounts/note", needs="accounts")
async def note(
    request: Asked, tools: GivenTools, data: Annotated[NoteForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Writes a note down."""
    await add_note(tools.reader, tools.journal, tools.clock, data.scope, data.subject, data.text, by=request.user.by)
    await tools.settle()
    return go(one_of(data.scope, data.subject) + "#notes", "Written down.")


@post("/accounts/note/remove", needs="accounts")
async def note_removed(
    request: Asked, tools: GivenTools, data: Annotated[NoteForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Removes a note."""
    gone = await remove_note(tools.reader, tools.journal, tools.clock, data.id, by=request.user.by)
    await tools.settle()
    return back(request, "The note is removed.", otherwise=one_of(gone.scope, gone.subject))


def one_of(scope: str, subject: str) -> str:
    """The page of an account or a sender."""
    return link("/accounts/sender", sender=subject) if scope == "sender" else link("/accounts/one", account=subject)


async def policy_in_force(tools: Tools) -> Policy:
    """The policy as its file says now. Raises DeskError if it cannot be used: the relays then keep an older one."""
    try:
        return await asyncio.to_thread(policy_of, tools.config)
    except ConfigError as error:
        raise DeskError(f"the policy cannot be read: {error}") from error


async def _confirm(request: Asked, tools: Tools, what: str, scope: str, subjects: list[str]) -> Response[str]:
    if what not in WORDS or scope not in ("account", "sender"):
        raise DeskError("that is no act on accounts")
    if not subjects:
        raise DeskError("nobody was chosen")
    return page(
        request,
        "accounts/act.html",
        what=what,
        words=WORDS[what],
        scope=scope,
        subjects=list(dict.fromkeys(subjects)),
        fields=Limit.__struct_fields__,
        pools=pools_of(tools.config),
        days=await _probation(tools),
        otherwise=one_of(scope, subjects[0]) if len(subjects) == 1 else "/accounts",
    )


async def _carry_out(tools: Tools, subjects: list[Subject], act: Act) -> tuple[list[Standing], list[str]]:
    """Do it, and wait until the ledger has it; what was recorded, and what was not done besides."""
    remarks: list[str] = []

    async def forget(sender: str, account: str) -> None:
        try:
            # The customer has mended it; that we were wrong nobody says.
            await tools.reputation.pardon(sender, account, tools.clock.now(), mistake=False)
        except StateDown:
            remarks[:] = ["The suspicion stays, since the memory of the relays cannot be reached."]

    standings = await decide(tools.reader, tools.journal, tools.clock, subjects, act, forget, pools_of(tools.config))
    for standing in standings:
        if standing.change in ("suspended", "resumed"):
            tools.tell(standing)
    await tools.settle()
    return standings, remarks


async def _probation(tools: Tools) -> float:
    """Days of the probation after a suspension."""
    return (await policy_in_force(tools)).probation.days


def _strings(form: Any, name: str) -> list[str]:
    return list(dict.fromkeys(value for value in form.getall(name, []) if isinstance(value, str) and value))


def _number(text: str) -> int:
    text = text.strip()
    if not text:
        return 0
    if not text.isdecimal() or not text.isascii() or len(text) > 12:
        raise DeskError(f"{text[:40]!r} is no number of messages or recipients")
    return int(text)


def _until(form: dict[str, str], now: float) -> float:
    """The end that a form names: a date, or a number of days; 0: none."""
    if form.get("until", "").strip():
        return moment_of(form["until"], now)
    text = form.get("days", "").strip() or "0"
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days <= 36_500:
        raise DeskError(f"{text[:40]!r} is no number of days")
    return now + days * DAY if days else 0.0


PAGES = [confirm_page, chosen_page, act, note, note_removed]
API = [act_api, note_api, note_removed_api]
