"""Area: what a tenant sees: a reseller's, or a customer's, own accounts, held mail and messages, and nothing else.

These routes alone have the scope `own`, which no other role has, and a tenant has no other scope: a new route is
closed to tenants until it stands here. Each answer comes from `tenant_queries`, whose SQL has the tenant's accounts as
a condition; what is another's is answered as what there is not.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery

from outbound_guard.console.access import Asked
from outbound_guard.console.customers_texts import Said
from outbound_guard.console.pages import link, page
from outbound_guard.console.tools import GivenTools
from outbound_guard.desk.customers.kinds import Kind, kinds_of
from outbound_guard.ledger import tenant_queries
from outbound_guard.ledger.tenant_queries import OwnAccount, OwnHeld, OwnMessage, OwnSearch

PAGE = 50
MOST = 500

Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class OwnAccounts(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts, by name."""

    items: list[OwnAccount]
    total: int


class OwnHeldMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is or was held."""

    id: str
    received: float
    account: str
    sender: str
    mail_from: str
    recipients: tuple[str, ...]
    recipient_count: int
    subject: str
    size: int
    state: str
    changed: float
    kinds: tuple[Kind, ...] = ()
    """What kind of thing it is held for."""


class OwnHeldPage(msgspec.Struct, frozen=True, kw_only=True):
    """Held messages, newest first."""

    items: list[OwnHeldMessage]
    total: int


class OwnMessages(msgspec.Struct, frozen=True, kw_only=True):
    """Messages, newest first."""

    items: list[OwnMessage]
    next: int | None
    """The `offset` to go on with; null: that was all."""


def _search(
    account: FromQuery[str] = "",
    sender: FromQuery[str] = "",
    recipient: FromQuery[str] = "",
    words: FromQuery[str] = "",
    limit: FromQuery[Limit] = PAGE,
    offset: FromQuery[Offset] = 0,
) -> OwnSearch:
    """Which messages are meant; `words` are of the subject."""
    return OwnSearch(
        account=account.strip(),
        sender=sender.strip(),
        recipient=recipient.strip(),
        words=words.strip(),
        limit=limit,
        offset=offset,
    )


GivenOwnSearch = NamedDependency[OwnSearch]
_SEARCHED = {"search": Provide(_search, sync_to_thread=False)}


@get("/own/accounts", needs="own")
async def accounts_api(
    request: Asked, tools: GivenTools, limit: FromQuery[Limit] = PAGE, offset: FromQuery[Offset] = 0
) -> OwnAccounts:
    """A tenant's accounts."""
    now = tools.clock.now()
    rows, total = await asyncio.to_thread(
        tenant_queries.own_accounts, tools.reader, request.user.accounts, now, limit=limit, offset=offset
    )
    return OwnAccounts(items=rows, total=total)


@get("/own/held", needs="own", dependencies=_SEARCHED)
async def held_api(request: Asked, tools: GivenTools, search: GivenOwnSearch) -> OwnHeldPage:
    """Mail of a tenant's accounts that is held or in quarantine."""
    rows, total = await asyncio.to_thread(tenant_queries.own_held, tools.reader, request.user.accounts, search)
    return OwnHeldPage(items=[_held_of(OwnHeld(row=row, signals=(), code="")) for row in rows], total=total)


@get("/own/held/{id_:str}", needs="own")
async def held_one_api(request: Asked, tools: GivenTools, id_: FromPath[str]) -> OwnHeldMessage:
    """A message of a tenant's accounts that is or was held."""
    return await _held_one(request, tools, id_)


@get("/own/messages", needs="own", dependencies=_SEARCHED)
async def messages_api(request: Asked, tools: GivenTools, search: GivenOwnSearch) -> OwnMessages:
    """Messages of a tenant's accounts."""
    return await _messages(request, tools, search)


@get("/own/messages/{id_:str}", needs="own")
async def message_api(request: Asked, tools: GivenTools, id_: FromPath[str]) -> OwnMessage:
    """A message of a tenant's accounts, and what was answered for it."""
    return await _message(request, tools, id_)


@get("/own", needs="own")
async def accounts_page(request: Asked, tools: GivenTools, offset: FromQuery[Offset] = 0) -> Response[str]:
    """A tenant's accounts."""
    now = tools.clock.now()
    rows, total = await asyncio.to_thread(
        tenant_queries.own_accounts, tools.reader, request.user.accounts, now, limit=PAGE, offset=offset
    )
    return page(
        request, "own/accounts.html", rows=rows, total=total, offset=offset, **_turned("/own", {}, offset, total)
    )


@get("/own/held", needs="own", dependencies=_SEARCHED)
async def held_page(request: Asked, tools: GivenTools, search: GivenOwnSearch) -> Response[str]:
    """Held mail of a tenant's accounts."""
    rows, total = await asyncio.to_thread(tenant_queries.own_held, tools.reader, request.user.accounts, search)
    turned = _turned("/own/held", _query(search), search.offset, total, search.limit)
    return page(request, "own/held.html", rows=rows, total=total, search=search, offset=search.offset, **turned)


@get("/own/held/{id_:str}", needs="own")
async def held_one_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[str]:
    """One held message."""
    return page(request, "own/held_one.html", message=await _held_one(request, tools, id_), say=Said("en"))


@get("/own/messages", needs="own", dependencies=_SEARCHED)
async def messages_page(request: Asked, tools: GivenTools, search: GivenOwnSearch) -> Response[str]:
    """Messages of a tenant's accounts."""
    found = await _messages(request, tools, search)
    total = found.next + 1 if found.next is not None else search.offset + len(found.items)
    turned = _turned("/own/messages", _query(search), search.offset, total, search.limit)
    return page(
        request, "own/messages.html", rows=found.items, total=total, search=search, offset=search.offset, **turned
    )


@get("/own/messages/{id_:str}", needs="own")
async def message_page(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Response[str]:
    """One message, and what was answered for it."""
    return page(request, "own/message.html", message=await _message(request, tools, id_))


async def _held_one(request: Asked, tools: GivenTools, id_: str) -> OwnHeldMessage:
    found = await asyncio.to_thread(tenant_queries.own_held_one, tools.reader, request.user.accounts, id_)
    if found is None:
        raise NotFoundException("no such message")
    return _held_of(found)


async def _message(request: Asked, tools: GivenTools, id_: str) -> OwnMessage:
    found = await asyncio.to_thread(tenant_queries.own_message, tools.reader, request.user.accounts, id_)
    if found is None:
        raise NotFoundException("no such message")
    return found


async def _messages(request: Asked, tools: GivenTools, search: OwnSearch) -> OwnMessages:
    wanted = msgspec.structs.replace(search, limit=search.limit + 1)
    found = await asyncio.to_thread(tenant_queries.own_messages, tools.reader, request.user.accounts, wanted)
    more = len(found) > search.limit
    return OwnMessages(items=found[: search.limit], next=search.offset + search.limit if more else None)


def _held_of(found: OwnHeld) -> OwnHeldMessage:
    """Without scores and what the signals say: that is for the desk."""
    names = [name for name in OwnHeldMessage.__struct_fields__ if name != "kinds"]
    return OwnHeldMessage(
        **{name: getattr(found.row, name) for name in names}, kinds=kinds_of(found.signals, found.code)
    )


def _query(search: OwnSearch) -> dict[str, Any]:
    query = {name: getattr(search, name) for name in ("account", "sender", "recipient", "words")}
    return query if search.limit == PAGE else {**query, "limit": search.limit}


def _turned(path: str, query: dict[str, Any], offset: int, total: int, limit: int = PAGE) -> dict[str, Any]:
    before = link(path, **query, offset=max(offset - limit, 0)) if offset else ""
    after = link(path, **query, offset=offset + limit) if offset + limit < total else ""
    return {"previous": before, "next_page": after}


PAGES: list[Any] = [accounts_page, held_page, held_one_page, messages_page, message_page]
API: list[Any] = [accounts_api, held_api, held_one_api, messages_api, message_api]
