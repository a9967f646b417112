"""Area: accounts. The list, one account, one sender inside it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.params import FromQuery

from outbound_guard.config import pools_of
from outbound_guard.console import accounts_acts, accounts_data, accounts_directory
from outbound_guard.console.access import Asked
from outbound_guard.console.accounts_acts import one_of, policy_in_force
from outbound_guard.console.customers_desk import customer_side
from outbound_guard.console.pages import date, link, page
from outbound_guard.console.panels import told
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.accounts.acts import DAY
from outbound_guard.desk.accounts.lists import Page, account_page
from outbound_guard.desk.accounts.recent import Recent, account_recent
from outbound_guard.desk.accounts.view import AccountView, account_view
from outbound_guard.ledger import account_one_queries
from outbound_guard.ledger.account_one_queries import SenderRow
from outbound_guard.ledger.account_queries import SORTS, STATES, AccountFilters
from outbound_guard.verdict import ACTIONS

PAGE = 50
MOST = 500
"""Rows of an answer of the API."""
STATE_NAMES = {
    "suspended": "suspended",
    "senders": "with suspended senders",
    "probation": "on probation",
    "limited": "with limits of its own",
    "exempt": "exempt",
    "held": "with held mail",
}
SORT_NAMES = {
    "account": "account",
    "state": "state: suspended first",
    "held": "most held mail",
    "messages": "most messages of a day",
    "last": "seen last",
}
CLASS_KINDS = {"trusted": "trusted", "doubtful": "doubtful", "suspended": "suspended", "normal": "good"}
"""The colour of a class; the others have none."""

Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]


class Senders(msgspec.Struct, frozen=True, kw_only=True):
    """Senders of an account, those that sent last first."""

    items: list[SenderRow]
    total: int


@get("/accounts", needs="read")
async def accounts_api(
    tools: GivenTools,
    search: FromQuery[str] = "",
    standing: FromQuery[str] = "",
    sort: FromQuery[str] = "account",
    limit: FromQuery[Limit] = PAGE,
    offset: FromQuery[Offset] = 0,
) -> Page:
    """Accounts by account, name, contact, pattern or sender (`search`) and by standing.

    `standing`: suspended | senders (some of its senders are) | probation | limited | exempt | held; `sort`: account |
    state | held | messages | last.
    """
    return await _listed(tools, AccountFilters(search=search, state=standing, sort=sort, limit=limit, offset=offset))


@get("/accounts/one", needs="read")
async def account_api(tools: GivenTools, account: FromQuery[str]) -> AccountView:
    """What holds for an account now: class, suspicion, standings, limits and where they come from, notes."""
    return await _view(tools, "account", account)


@get("/accounts/recent", needs="read")
async def account_recent_api(tools: GivenTools, account: FromQuery[str]) -> Recent:
    """What an account did of late: scores, what moved them, recipients, clients, traffic beside what is usual."""
    await _view(tools, "account", account)
    return await account_recent(tools.reader, tools.clock, "account", account)


@get("/accounts/senders", needs="read")
async def senders_api(
    tools: GivenTools,
    account: FromQuery[str],
    search: FromQuery[str] = "",
    limit: FromQuery[Limit] = PAGE,
    offset: FromQuery[Offset] = 0,
) -> Senders:
    """The senders of an account, each with its own standing."""
    rows, total = await _senders(tools, account, search, limit, offset)
    return Senders(items=rows, total=total)


@get("/senders/one", needs="read")
async def sender_api(tools: GivenTools, sender: FromQuery[str]) -> AccountView:
    """What holds for one sender (mailbox, script or address) now."""
    return await _view(tools, "sender", sender)


@get("/senders/recent", needs="read")
async def sender_recent_api(tools: GivenTools, sender: FromQuery[str]) -> Recent:
    """What one sender did of late."""
    await _view(tools, "sender", sender)
    return await account_recent(tools.reader, tools.clock, "sender", sender)


@get("/accounts", needs="read")
async def accounts_page(
    request: Asked,
    tools: GivenTools,
    search: FromQuery[str] = "",
    standing: FromQuery[str] = "",
    sort: FromQuery[str] = "",
    offset: FromQuery[Offset] = 0,
) -> Response[str]:
    """The list of accounts."""
    filters = AccountFilters(search=search, state=standing, sort=sort or "account", limit=PAGE, offset=offset)
    found = await _listed(tools, filters)
    query = {"search": search, "standing": standing, "sort": sort}
    return page(
        request,
        "accounts/list.html",
        found=found,
        query=query,
        states=STATE_NAMES,
        sorts=SORT_NAMES,
        kinds=CLASS_KINDS,
        **_turned("/accounts", query, offset, len(found.items), found.total),
    )


@get("/accounts/one", needs="read")
async def account_one_page(request: Asked, tools: GivenTools, account: FromQuery[str]) -> Response[str]:
    """One account."""
    return await _one(request, tools, "account", account)


@get("/accounts/sender", needs="read")
async def sender_one_page(request: Asked, tools: GivenTools, sender: FromQuery[str]) -> Response[str]:
    """One sender."""
    return await _one(request, tools, "sender", sender)


@get("/accounts/senders", needs="read")
async def senders_page(
    request: Asked,
    tools: GivenTools,
    account: FromQuery[str],
    search: FromQuery[str] = "",
    offset: FromQuery[Offset] = 0,
) -> Response[str]:
    """The senders of an account."""
    rows, total = await _senders(tools, account, search, PAGE, offset)
    query = {"account": account, "search": search}
    turned = _turned("/accounts/senders", query, offset, len(rows), total)
    return page(request, "accounts/senders.html", account=account, rows=rows, total=total, query=query, **turned)


async def _listed(tools: Tools, filters: AccountFilters) -> Page:
    policy = await policy_in_force(tools)
    return await account_page(tools.reader, tools.clock, filters, tools.reputation, policy.threshold)


async def _view(tools: Tools, scope: str, subject: str) -> AccountView:
    policy = await policy_in_force(tools)
    return await account_view(tools.reader, tools.reputation, tools.clock, policy, scope, subject)


async def _senders(tools: Tools, account: str, search: str, limit: int, offset: int) -> tuple[list[SenderRow], int]:
    now = tools.clock.now()
    return await asyncio.to_thread(
        lambda: account_one_queries.senders(
            tools.reader, account, now, search=search.strip(), limit=limit, offset=offset
        )
    )


async def _one(request: Asked, tools: Tools, scope: str, subject: str) -> Response[str]:
    view, recent = await asyncio.gather(
        _view(tools, scope, subject), account_recent(tools.reader, tools.clock, scope, subject)
    )
    names = {threshold.name: threshold.at for threshold in view.thresholds}
    customer = await customer_side(tools, subject) if scope == "account" else None
    return page(
        request,
        "accounts/one.html",
        view=view,
        recent=recent,
        customer=customer,
        panels=await told(tools, scope, subject),
        here=one_of(scope, subject),
        kinds=CLASS_KINDS,
        pools=pools_of(tools.config),
        actions=ACTIONS,
        marks=[(name, names[name]) for name in ("watch", "hold", "quarantine", "suspend") if name in names],
        times=_times(recent, tools.clock.now()),
        date_label=lambda time: date(time)[5:],
    )


def _times(recent: Recent, now: float) -> tuple[float, float]:
    """From when to when the chart of scores goes: from the first message that was looked at, at least a day."""
    return min(recent.since or now, now - DAY), now


def _turned(path: str, query: dict[str, Any], offset: int, shown: int, total: int) -> dict[str, Any]:
    """What the pager needs."""
    return {
        "offset": offset,
        "previous": link(path, **query, offset=max(0, offset - PAGE)) if offset else "",
        "next_page": link(path, **query, offset=offset + shown) if shown and offset + shown < total else "",
    }


assert set(STATE_NAMES) == set(STATES)  # noqa: S101 -- each has its words.
assert set(SORT_NAMES) == set(SORTS)  # noqa: S101

PAGES = [
    accounts_page,
    account_one_page,
    sender_one_page,
    senders_page,
    *accounts_acts.PAGES,
    *accounts_directory.PAGES,
    *accounts_data.PAGES,
]
API = [
    accounts_api,
    account_api,
    account_recent_api,
    senders_api,
    sender_api,
    sender_recent_api,
    *accounts_acts.API,
    *accounts_directory.API,
    *accounts_data.API,
]
