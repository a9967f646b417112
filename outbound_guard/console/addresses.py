"""Area: our addresses and domains by the lists that know them, what they said when, and what receivers see of us."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromQuery, JSONBody
from litestar.response import Redirect
from litestar.status_codes import HTTP_202_ACCEPTED

from outbound_guard.blocklist.findings import Found
from outbound_guard.console.access import Asked
from outbound_guard.console.pages import back, link, page
from outbound_guard.console.query import State
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.addresses import matrix as desk
from outbound_guard.desk.addresses.matrix import PAGE, Filters, Matrix
from outbound_guard.desk.addresses.pools import PoolNow, pools_now
from outbound_guard.desk.addresses.rows import STATES, ListSaid, Subject
from outbound_guard.desk.addresses.times import ListingTime

COLUMNS = 16
"""Lists that the matrix has a column for."""
STATE_NAMES = {
    "listed": "listed",
    "was_listed": "listed when last known",
    "resting": "rests or should",
    "objectionable": "name or SPF in question",
    "unknown": "not known",
    "not_asked": "not asked yet",
    "clean": "clean",
}


class AddressTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Times of listing."""

    items: list[ListingTime]
    total: int


class OneAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one address or domain."""

    subject: Subject
    """With the word of every list."""
    times: list[ListingTime]
    """When it was listed, of late."""
    identity: Found | None
    """What receivers see of it, if that was looked at."""
    waiting: bool
    """It is asked about right now, on request."""


class OneList(msgspec.Struct, frozen=True, kw_only=True):
    """One list."""

    said: ListSaid
    """What it says of all that is ours."""
    times: list[ListingTime]
    """What it listed when, of late."""
    total: int


class Identities(msgspec.Struct, frozen=True, kw_only=True):
    """What receivers see of our sending addresses."""

    items: list[Found]
    total: int


class Pools(msgspec.Struct, frozen=True):
    """Our egress pools."""

    items: list[PoolNow]


class Recheck(msgspec.Struct, frozen=True):
    """Addresses or domains of ours to ask about now."""

    subjects: list[str]


class Rechecked(msgspec.Struct, frozen=True):
    """Those that are asked about now; the answers are there in a while."""

    subjects: tuple[str, ...]


async def _one(tools: Tools, subject: str) -> OneAddress:
    shown, times, identity = await desk.subject_shown(tools.reader, tools.config, subject)
    waiting = tools.watch is not None and shown.subject in tools.watch.wanted.waiting
    return OneAddress(subject=shown, times=times, identity=identity, waiting=waiting)


async def _matrix(tools: Tools, state: str, pool: str, account: str, zone: str, text: str, at: int) -> Matrix:
    filters = Filters(state=state, pool=pool, account=account, zone=zone, text=text)
    return await desk.matrix(tools.reader, tools.config, filters, offset=(at - 1) * PAGE, watch=tools.watch)


@get("/addresses", needs="read")
async def addresses_api(
    tools: GivenTools,
    standing: State = "",
    pool: FromQuery[str] = "",
    account: FromQuery[str] = "",
    zone: FromQuery[str] = "",
    text: FromQuery[str] = "",
    page: FromQuery[int] = 1,
) -> Matrix:
    """Our addresses and domains by the lists that know them, the worst first, 50 a page."""
    return await _matrix(tools, standing, pool, account, zone, text, max(page, 1))


@get("/addresses/one", needs="read")
async def one_address_api(tools: GivenTools, subject: FromQuery[str]) -> OneAddress:
    """Everything about one address or domain."""
    return await _one(tools, subject)


@get("/addresses/list", needs="read")
async def one_list_api(tools: GivenTools, zone: FromQuery[str], page: FromQuery[int] = 1) -> OneList:
    """What one list says, and said, 50 times of listing a page."""
    found, times, total = await desk.list_shown(tools.reader, tools.config, zone, offset=(max(page, 1) - 1) * PAGE)
    return OneList(said=found, times=times, total=total)


@get("/addresses/history", needs="read")
async def history_api(tools: GivenTools, page: FromQuery[int] = 1) -> AddressTimes:
    """Times of listing, those that last first, 50 a page."""
    items, total = await desk.times(tools.reader, offset=(max(page, 1) - 1) * PAGE)
    return AddressTimes(items=items, total=total)


@get("/addresses/identity", needs="read")
async def identity_api(tools: GivenTools, page: FromQuery[int] = 1) -> Identities:
    """Reverse names, greeting and SPF of our sending addresses, those with problems first, 50 a page."""
    items, total = await desk.identities(tools.config, offset=(max(page, 1) - 1) * PAGE)
    return Identities(items=items, total=total)


@get("/addresses/pools", needs="read")
async def pools_api(tools: GivenTools) -> Pools:
    """Our egress pools: classes of sender, addresses with their weights, names, and what they may send today."""
    return Pools(items=await pools_now(tools.reader, tools.config, tools.reputation.state, tools.clock.now()))


@post("/addresses/recheck", needs="cases", status_code=HTTP_202_ACCEPTED)
async def recheck_api(request: Asked, tools: GivenTools, data: JSONBody[Recheck]) -> Rechecked:
    """Have the lists asked about some of our addresses now."""
    asked = desk.recheck(tools.watch, tools.journal, tools.clock, data.subjects, by=request.user.by)
    await tools.settle()
    return Rechecked(asked)


@get("/addresses", needs="read")
async def addresses_page(
    request: Asked,
    tools: GivenTools,
    standing: State = "",
    pool: FromQuery[str] = "",
    account: FromQuery[str] = "",
    zone: FromQuery[str] = "",
    text: FromQuery[str] = "",
    at: FromQuery[int] = 1,
) -> Response[str]:
    """The matrix."""
    at = max(at, 1)
    found = await _matrix(tools, standing, pool, account, zone, text, at)
    query = {"state": standing, "pool": pool, "account": account, "zone": zone, "text": text}
    return page(
        request,
        "addresses/matrix.html",
        found=found,
        columns=found.columns[:COLUMNS],
        query=query,
        states=STATES,
        names=STATE_NAMES,
        **_pages("/addresses", at, found.total, **query),
    )


@get("/addresses/one", needs="read")
async def one_address_page(request: Asked, tools: GivenTools, subject: FromQuery[str]) -> Response[str]:
    """One address or domain."""
    return page(request, "addresses/one.html", one=await _one(tools, subject), names=STATE_NAMES, tools=tools)


@get("/addresses/list", needs="read")
async def one_list_page(
    request: Asked, tools: GivenTools, zone: FromQuery[str], at: FromQuery[int] = 1
) -> Response[str]:
    """One list."""
    at = max(at, 1)
    found, times, total = await desk.list_shown(tools.reader, tools.config, zone, offset=(at - 1) * PAGE)
    pages = _pages("/addresses/list", at, total, zone=found.zone)
    return page(request, "addresses/list.html", found=found, times=times, total=total, **pages)


@get("/addresses/history", needs="read")
async def history_page(request: Asked, tools: GivenTools, at: FromQuery[int] = 1) -> Response[str]:
    """What was listed when."""
    at = max(at, 1)
    times, total = await desk.times(tools.reader, offset=(at - 1) * PAGE)
    return page(request, "addresses/history.html", times=times, total=total, **_pages("/addresses/history", at, total))


@get("/addresses/identity", needs="read")
async def identity_page(request: Asked, tools: GivenTools, at: FromQuery[int] = 1) -> Response[str]:
    """Reverse names, greeting and SPF."""
    at = max(at, 1)
    found, total = await desk.identities(tools.config, offset=(at - 1) * PAGE)
    return page(
        request, "addresses/identity.html", found=found, total=total, **_pages("/addresses/identity", at, total)
    )


@get("/addresses/pools", needs="read")
async def pools_page(request: Asked, tools: GivenTools) -> Response[str]:
    """The egress pools."""
    pools = await pools_now(tools.reader, tools.config, tools.reputation.state, tools.clock.now())
    return page(request, "addresses/pools.html", pools=pools, server=tools.config.server.hostname)


@post("/addresses/recheck", needs="cases")
async def recheck(request: Asked, tools: GivenTools) -> Redirect:
    """Have the lists asked now about the addresses that were selected."""
    form = await request.form()
    wanted = [text for text in form.getall("subject", []) if isinstance(text, str)]
    asked = desk.recheck(tools.watch, tools.journal, tools.clock, wanted, by=request.user.by)
    await tools.settle()
    what = asked[0] if len(asked) == 1 else f"{len(asked)} addresses and domains"
    return back(request, f"The lists are being asked about {what}; the answers are here in a while.")


def _pages(path: str, at: int, total: int, **query: str) -> dict[str, Any]:
    """What the pager of a list needs."""
    return {
        "first": (at - 1) * PAGE,
        "previous": link(path, **query, at=at - 1) if at > 1 else "",
        "next": link(path, **query, at=at + 1) if at * PAGE < total else "",
    }


PAGES = [addresses_page, one_address_page, one_list_page, history_page, identity_page, pools_page, recheck]
API = [addresses_api, one_address_api, one_list_api, history_api, identity_api, pools_api, recheck_api]
