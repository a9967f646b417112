"""Area: accounts. The directory: entries by hand, and the import of a list, each shown before it is done."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from litestar import Response, delete, get, post, put
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import Asked
from outbound_guard.console.accounts_acts import one_of
from outbound_guard.console.pages import go, page
from outbound_guard.console.tools import GivenTools
from outbound_guard.desk.accounts.entries import Changed, EntryChange, change_entry, lines_of, remove_entry
from outbound_guard.desk.accounts.importing import COLUMNS, NewEntry, Plan, entries_of_csv, import_entries
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import directory_queries

MOST_OCTETS = 12 * 1024 * 1024


class ImportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Entries for the directory."""

    entries: Annotated[list[NewEntry], msgspec.Meta(min_length=1, max_length=100_000)]
    dry: bool = False
    """Only say what would change."""


class Removed(msgspec.Struct, frozen=True):
    """What is no longer in the directory."""

    account: str


class EntryForm(msgspec.Struct):
    """An entry as the form sends it."""

    account: str = ""
    name: str = ""
    contact: str = ""
    note: str = ""
    patterns: str = ""
    """One a line: all that are to be its own."""
    before: str = ""
    """Those that the form showed: what was added by others meanwhile stays."""
    reason: str = ""


@put("/accounts/entry", needs="accounts")
async def entry_api(
    request: Asked, tools: GivenTools, data: JSONBody[EntryChange], dry: FromQuery[bool] = False
) -> Changed:
    """Make or change an account's entry in the directory; with `dry` only say what would change."""
    done = await change_entry(tools.reader, tools.journal, tools.clock, data, by=request.user.by, dry=dry)
    await tools.settle()
    return done


@delete("/accounts/entry", needs="accounts", status_code=200)
async def entry_removed_api(
    request: Asked, tools: GivenTools, account: FromQuery[str], reason: FromQuery[str] = ""
) -> Removed:
    """Take an account out of the directory; its mail and its standing stay."""
    await remove_entry(tools.reader, tools.journal, tools.clock, account, by=request.user.by, reason=reason)
    await tools.settle()
    return Removed(account)


@post("/accounts/import", needs="accounts", status_code=200)
async def import_api(request: Asked, tools: GivenTools, data: JSONBody[ImportRequest]) -> Plan:
    """Take entries into the directory, all or none; with `dry` only say what would change."""
    plan = await import_entries(
        tools.reader, tools.journal, tools.clock, data.entries, by=request.user.by, dry=data.dry
    )
    await tools.settle()
    return plan


@get("/accounts/edit", needs="accounts")
async def edit_page(request: Asked, tools: GivenTools, account: FromQuery[str] = "") -> Response[str]:
    """An entry of the directory, to be changed; without an account a new one."""

    def read() -> tuple[dict[str, str], list[str]]:
        entry = directory_queries.accounts(tools.reader, account).get(account, {}) if account else {}
        return entry, directory_queries.senders_of(tools.reader, account) if account else []

    entry, patterns = await asyncio.to_thread(read)
    return page(request, "accounts/edit.html", account=account, entry=entry, patterns=patterns)


@post("/accounts/edit", needs="accounts")
async def edit(
    request: Asked, tools: GivenTools, data: Annotated[EntryForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Saves an entry."""
    wanted, before = lines_of(data.patterns), lines_of(data.before)
    change = EntryChange(
        account=data.account.strip(),
        name=data.name.strip(),
        contact=data.contact.strip(),
        note=data.note.strip(),
        add=tuple(pattern for pattern in wanted if pattern not in before),
        remove=tuple(pattern for pattern in before if pattern not in wanted),
    )
    done = await change_entry(tools.reader, tools.journal, tools.clock, change, by=request.user.by)
    await tools.settle()
    said = "; ".join(done.lines) or ("Entered." if done.new else "Nothing has changed.")
    return go(one_of("account", change.account), said)


@post("/accounts/remove", needs="accounts")
async def entry_removed(
    request: Asked, tools: GivenTools, data: Annotated[EntryForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Takes an account out of the directory."""
    await remove_entry(tools.reader, tools.journal, tools.clock, data.account, by=request.user.by, reason=data.reason)
    await tools.settle()
    return go("/accounts", f"{data.account} is no longer in the directory.")


@get("/accounts/import", needs="accounts")
async def import_page(request: Asked) -> Response[str]:
    """Where a list of accounts can be taken in."""
    return page(request, "accounts/import.html", plan=None, text="", columns=COLUMNS)


@post("/accounts/import", needs="accounts", status_code=200)
async def import_(request: Asked, tools: GivenTools) -> Response[str] | Redirect:
    """Shows what a list would change, and with `take` takes it in."""
    form = await request.form()
    file, text = form.get("file"), str(form.get("text", ""))
    if isinstance(file, UploadFile) and (octets := await file.read(MOST_OCTETS + 1)):
        if len(octets) > MOST_OCTETS:
            raise DeskError(f"the file is too large; at most {MOST_OCTETS // 1024 // 1024} MB")
        try:
            text = octets.decode()
        except UnicodeDecodeError as error:
            raise DeskError(f"the file is not UTF-8 at octet {error.start}") from None
    take = bool(form.get("take"))
    entries = await asyncio.to_thread(entries_of_csv, text)
    plan = await import_entries(tools.reader, tools.journal, tools.clock, entries, by=request.user.by, dry=not take)
    if not take:
        return page(request, "accounts/import.html", plan=plan, text=text, columns=COLUMNS)
    await tools.settle()
    return go("/accounts", f"{plan.accounts} accounts with {plan.senders} senders taken in.")


PAGES = [edit_page, edit, entry_removed, import_page, import_]
API = [entry_api, entry_removed_api, import_api]
