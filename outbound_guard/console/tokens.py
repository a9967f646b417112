"""API tokens: one's own, and for admins everybody's."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.params import Body, FromPath, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import SIGNED_IN, Asked
from outbound_guard.console.me import person
from outbound_guard.console.pages import go, link, page
from outbound_guard.console.signin import GivenAccess
from outbound_guard.console.tools import GivenTools
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.tokens import NoToken
from outbound_guard.ledger.user_queries import Token

SHOWN = 100
_DAY = 86_400.0


class Tokens(msgspec.Struct, frozen=True):
    """A list of tokens, the newest first."""

    items: list[Token]
    next: str = ""
    """Where the list goes on; empty: here it ends."""


class NewToken(msgspec.Struct, frozen=True):
    """A token to be made."""

    name: str
    """As in the audit; no two tokens that are good have the same."""
    scopes: list[str]
    """What it is for; not beyond what its maker may do."""
    days: Annotated[int, msgspec.Meta(ge=0, le=36500)] = 90
    """Until it ends; 0: it does not."""


class MadeToken(msgspec.Struct, frozen=True):
    """A token that was made."""

    id: str
    token: str
    """What `Authorization: Bearer` takes; it is shown this once."""


class TokenForm(msgspec.Struct):
    """A token to be made, as the form sends it."""

    name: str = ""
    scope: list[str] | str = ""
    days: str = ""


class TokenId(msgspec.Struct):
    """A token to be revoked, and the page to go on with."""

    id: str = ""
    user: str = ""


@get("/tokens", needs="users")
async def tokens_page(
    request: Asked, access: GivenAccess, user: FromQuery[str] = "", first: FromQuery[int] = 0
) -> Response[str]:
    """All tokens, or those of one user."""
    first = max(first, 0)
    found = await access.tokens.all(user, limit=SHOWN + 1, offset=first)
    more = len(found) > SHOWN
    return page(
        request,
        "users/tokens.html",
        tokens=found[:SHOWN],
        user=user,
        before=link("/tokens", user=user, first=max(first - SHOWN, 0)) if first else "",
        after=link("/tokens", user=user, first=first + SHOWN) if more else "",
    )


@post("/tokens/revoke", needs="users")
async def revoke_any(
    request: Asked, access: GivenAccess, data: Annotated[TokenId, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Ends a token of anybody."""
    token = await access.tokens.revoke(data.id, by=request.user.by)
    return go(link("/tokens", user=data.user), f"The token {token.name} of {token.user} is revoked.")


@post("/me/tokens", needs=SIGNED_IN)
async def make_own(
    request: Asked,
    access: GivenAccess,
    tools: GivenTools,
    data: Annotated[TokenForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[str]:
    """Makes a token of one's own, and shows it this once."""
    name = person(request)
    scopes = [data.scope] if isinstance(data.scope, str) else data.scope
    if data.days and not (data.days.isascii() and data.days.isdigit() and len(data.days) < 6):
        raise DeskError(f"{data.days[:20]!r} is not a number of days")
    until = tools.clock.now() + int(data.days) * _DAY if data.days else 0.0
    wanted = [scope for scope in scopes if scope]
    _, value = await access.tokens.make(
        name, data.name, wanted, allowed=request.user.scopes, until=until, by=request.user.by
    )
    return page(request, "users/token.html", name=data.name, value=value, scopes=wanted, until=until)


@post("/me/tokens/{id:str}/revoke", needs=SIGNED_IN)
async def revoke_own(request: Asked, access: GivenAccess, id: FromPath[str]) -> Redirect:
    """Ends a token of one's own."""
    token = await access.tokens.revoke(id, owner=person(request), by=request.user.by)
    return go("/me", f"The token {token.name} is revoked.")


@get("/tokens", needs=SIGNED_IN)
async def tokens_api(
    request: Asked,
    access: GivenAccess,
    all: FromQuery[bool] = False,
    first: FromQuery[Annotated[int, msgspec.Meta(ge=0, le=10**9)]] = 0,
) -> Tokens:
    """One's own tokens; with `all` everybody's, which needs the scope `users`."""
    if all and not request.user.may("users"):
        raise PermissionDeniedException("this needs the scope `users`")
    found = await access.tokens.all("" if all else request.user.name, limit=SHOWN + 1, offset=first)
    more = link("/api/v1/tokens", all="true" if all else "", first=first + SHOWN) if len(found) > SHOWN else ""
    return Tokens(found[:SHOWN], more)


@post("/tokens", needs=SIGNED_IN)
async def make_api(request: Asked, access: GivenAccess, tools: GivenTools, data: JSONBody[NewToken]) -> MadeToken:
    """Makes a token of one's own; for people who are signed in, since a token does not make others."""
    name = person(request)
    until = tools.clock.now() + data.days * _DAY if data.days else 0.0
    id_, value = await access.tokens.make(
        name, data.name, data.scopes, allowed=request.user.scopes, until=until, by=request.user.by
    )
    return MadeToken(id_, value)


@delete("/tokens/{id:str}", needs=SIGNED_IN, status_code=204)
async def revoke_api(request: Asked, access: GivenAccess, id: FromPath[str]) -> None:
    """Ends a token of one's own; with the scope `users`, of anybody."""
    owner = "" if request.user.may("users") else request.user.name
    try:
        await access.tokens.revoke(id, owner=owner, by=request.user.by)
    except NoToken as error:
        raise NotFoundException(str(error)) from error


PAGES: list[Any] = [tokens_page, revoke_any, make_own, revoke_own]
API: list[Any] = [tokens_api, make_api, revoke_api]
