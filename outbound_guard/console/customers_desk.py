"""Area: customers, as the desk sees them: links made and revoked, what was answered, whether they may release."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import PermissionDeniedException
from litestar.params import Body, FromPath, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import go, link, page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.customers.links import Made, make_link, revoke_link
from outbound_guard.desk.customers.offences import reopen
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import customer_queries
from outbound_guard.ledger.customer_queries import Answer, Link

Account = Annotated[str, msgspec.Meta(min_length=1, max_length=254)]


class CustomerSide(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an account's customer and the page for them."""

    account: str
    on: bool
    """True if there is such a page (customers.url)."""
    links: list[Link]
    """Newest first."""
    answers: list[Answer]
    """Newest first."""
    closed: str
    """Why they may not release mail themselves; empty: they may, as far as the configuration lets them."""


class OfAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account."""

    account: Account
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class CustomerForm(msgspec.Struct):
    """An account, and a link of it."""

    account: str = ""
    id: str = ""
    reason: str = ""


@get("/customers", needs="read")
async def customer_api(tools: GivenTools, account: FromQuery[str]) -> CustomerSide:
    """The links of an account's customer, and what was answered by them."""
    return await customer_side(tools, account)


@post("/customers/links", needs="accounts")
async def link_api(request: Asked, tools: GivenTools, data: JSONBody[OfAccount]) -> Made:
    """A link for the customer of an account, with the scope `held` too. It is shown here and never again; it belongs
    to `contact` alone.
    """
    return await _made(request, tools, data.account)


@post("/customers/links/{id_:str}/revoke", needs="accounts", status_code=200)
async def revoked_api(request: Asked, tools: GivenTools, id_: FromPath[str]) -> Link:
    """Make a link worthless."""
    revoked = await revoke_link(tools.reader, tools.journal, tools.clock, id_, by=request.user.by)
    await tools.settle()
    return revoked


@post("/customers/reopen", needs="accounts", status_code=200)
async def reopen_api(request: Asked, tools: GivenTools, data: JSONBody[OfAccount]) -> CustomerSide:
    """Let the customers of an account release mail themselves again, after it was closed to them."""
    await reopen(tools.reader, tools.journal, tools.clock, data.account, by=request.user.by, reason=data.reason)
    await tools.settle()
    return await customer_side(tools, data.account)


@post("/accounts/customer/link", needs="accounts", status_code=200)
async def link_page(
    request: Asked, tools: GivenTools, data: Annotated[CustomerForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Response[str]:
    """Makes a link, and shows it: once."""
    return page(request, "customers/link.html", made=await _made(request, tools, data.account))


@post("/accounts/customer/revoke", needs="accounts")
async def revoke_page(
    request: Asked, tools: GivenTools, data: Annotated[CustomerForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Makes a link worthless."""
    revoked = await revoke_link(
        tools.reader, tools.journal, tools.clock, data.id, by=request.user.by, account=data.account
    )
    await tools.settle()
    return go(_of(revoked.account), "The link does not work any more.")


@post("/accounts/customer/reopen", needs="accounts")
async def reopen_page(
    request: Asked, tools: GivenTools, data: Annotated[CustomerForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Lets customers release mail themselves again."""
    if not data.account:
        raise DeskError("no account was named")
    await reopen(tools.reader, tools.journal, tools.clock, data.account, by=request.user.by, reason=data.reason.strip())
    await tools.settle()
    return go(_of(data.account), "Customers may release mail themselves again.")


async def _made(request: Asked, tools: Tools, account: str) -> Made:
    # The address of a link is seen by who makes it, and lets held mail go.
    if not request.user.may("held"):
        raise PermissionDeniedException(f"this needs the scope `held` too, which {request.user.name} does not have")
    made = await make_link(
        tools.reader, tools.journal, tools.clock, tools.config.customers, account, by=request.user.by
    )
    await tools.settle()
    return made


async def customer_side(tools: Tools, account: str) -> CustomerSide:
    """What an account's page says of its customer. Raises LedgerError."""
    return await asyncio.to_thread(_customer_side, tools, account)


def _customer_side(tools: Tools, account: str) -> CustomerSide:
    return CustomerSide(
        account=account,
        on=bool(tools.config.customers.url),
        links=customer_queries.links(tools.reader, account),
        answers=customer_queries.answers(tools.reader, account),
        closed=customer_queries.closed(tools.reader, account),
    )


def _of(account: str) -> str:
    return link("/accounts/one", account=account) + "#customer"


PAGES: list[Any] = [link_page, revoke_page, reopen_page]
API: list[Any] = [customer_api, link_api, revoked_api, reopen_api]
