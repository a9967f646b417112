"""Signing in, and the one-time set-up of the first user."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body, FromPath, FromQuery
from litestar.response import Redirect

from outbound_guard.console.access import COOKIES, NOBODY, Asked, client_of
from outbound_guard.console.pages import go, link, local, page
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.access import Access
from outbound_guard.desk.people.sessions import SignedIn
from outbound_guard.desk.people.signin import TICKET_SECONDS, CodeNeeded, SignInRefused, SignInThrottled

GivenAccess = NamedDependency[Access]
_TICKET = "og_ticket"
"""Cookie of who gave the password and owes the code."""


class SignInForm(msgspec.Struct):
    """Name and password."""

    name: str = ""
    password: str = ""
    next: str = ""


class CodeForm(msgspec.Struct):
    """The code of the second factor."""

    code: str = ""
    next: str = ""


class FirstForm(msgspec.Struct):
    """The first user."""

    name: str = ""
    password: str = ""
    again: str = ""


@get("/sign-in", needs=NOBODY, sync_to_thread=False)
def sign_in_page(request: Asked, access: GivenAccess, next: FromQuery[str] = "") -> Response[Any]:
    """Asks for name and password."""
    if request.user.session:
        return go(next or "/")
    return form(request, access, next=local(next or "/"))


@post("/sign-in", needs=NOBODY)
async def sign_in(
    request: Asked,
    access: GivenAccess,
    data: Annotated[SignInForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Name and password are right: a session, or the question for the code."""
    to = local(data.next or "/")
    try:
        begun = await access.sign_in.sign_in(
            data.name, data.password, client=client_of(request), agent=agent_of(request)
        )
    except CodeNeeded as needed:
        answer = Redirect(link("/sign-in/code", next=to), status_code=303)
        answer.set_cookie(cookie(request, _TICKET, needed.ticket, TICKET_SECONDS))
        return answer
    except DeskError as error:
        wrong = sentence(str(error))
        return _waiting(form(request, access, status=_status(error), wrong=wrong, name=data.name[:64], next=to), error)
    return signed_in(request, begun, to)


@get("/sign-in/code", needs=NOBODY, sync_to_thread=False)
def code_page(request: Asked, next: FromQuery[str] = "") -> Response[Any]:
    """Asks for the code of the second factor."""
    if request.user.session or _TICKET not in request.cookies:
        return go(next or "/")
    return page(request, "users/code.html", next=local(next or "/"), wrong="")


@post("/sign-in/code", needs=NOBODY)
async def give_code(
    request: Asked,
    access: GivenAccess,
    data: Annotated[CodeForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """The code is right: a session."""
    to, ticket = local(data.next or "/"), request.cookies.get(_TICKET, "")
    try:
        begun = await access.sign_in.confirm(
            ticket, data.code[:100], client=client_of(request), agent=agent_of(request)
        )
    except DeskError as error:
        return _again(request, error, "users/code.html", next=to)
    answer = signed_in(request, begun, to)
    answer.delete_cookie(_TICKET)
    return answer


@get("/setup/{secret:str}", needs=NOBODY)
async def first_page(request: Asked, access: GivenAccess, secret: FromPath[str]) -> Response[str]:
    """Asks for the first user, by the link that was printed when the service started."""
    if not await access.first_user.open(secret):
        raise NotFoundException("this link does not work any more")
    return page(request, "users/first.html", secret=secret, name="", wrong="")


@post("/setup/{secret:str}", needs=NOBODY)
async def first(
    request: Asked,
    access: GivenAccess,
    secret: FromPath[str],
    data: Annotated[FirstForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Makes the first user, an admin, who is then signed in."""
    if not await access.first_user.open(secret):
        raise NotFoundException("this link does not work any more")
    try:
        if data.password != data.again:
            raise DeskError("the two passwords differ")
        name = await access.first_user.use(secret, data.name, data.password)
    except DeskError as error:
        return page(
            request, "users/first.html", status=400, secret=secret, name=data.name[:64], wrong=sentence(str(error))
        )
    try:
        begun = await access.sign_in.sign_in(name, data.password, client=client_of(request), agent=agent_of(request))
    except DeskError:
        return go("/sign-in", f"{name} is an admin now: sign in.")
    return signed_in(request, begun, "/me")


def signed_in(request: Asked, begun: SignedIn, to: str) -> Redirect:
    """On to a page of ours, with the cookie of a new session."""
    answer = Redirect(to, status_code=303)
    begin_session(request, answer, begun)
    return answer


def begin_session(request: Asked, answer: Response[Any], begun: SignedIn) -> None:
    """Put the cookie of a new session into an answer."""
    name = COOKIES[0] if request.url.scheme == "https" else COOKIES[1]
    left = begun.expires - request.app.state.tools.clock.now()
    answer.set_cookie(cookie(request, name, begun.cookie, left))


def form(
    request: Asked, access: Access, *, status: int = 200, wrong: str = "", name: str = "", next: str = "/"
) -> Response[str]:
    """The page on which people sign in."""
    return page(
        request,
        "users/sign_in.html",
        status=status,
        wrong=wrong,
        name=name,
        next=next,
        oidc=access.oidc and access.oidc.settings,
        trouble=access.oidc.trouble if access.oidc else "",
    )


def agent_of(request: Asked) -> str:
    """What the browser calls itself."""
    return request.headers.get("user-agent", "")


def sentence(text: str) -> str:
    """What the desk says, as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def cookie(
    request: Asked,
    name: str,
    value: str,
    seconds: float,
    *,
    samesite: Literal["lax", "strict"] = "strict",
    path: str = "/",
) -> Cookie:
    """A cookie that scripts cannot read; by https for https alone. `seconds` 0: none any more."""
    return Cookie(
        key=name,
        value=value,
        max_age=math.ceil(seconds),
        httponly=True,
        samesite=samesite,
        path=path,
        secure=request.url.scheme == "https",
    )


def _again(request: Asked, error: DeskError, template: str, **context: Any) -> Response[str]:
    """The same form once more, with what was wrong."""
    return _waiting(page(request, template, status=_status(error), wrong=sentence(str(error)), **context), error)


def _status(error: DeskError) -> int:
    return 401 if isinstance(error, SignInRefused) else 429 if isinstance(error, SignInThrottled) else 503


def _waiting(answer: Response[str], error: DeskError) -> Response[str]:
    if isinstance(error, SignInThrottled):
        answer.headers["Retry-After"] = str(math.ceil(error.wait))
    return answer


PAGES = [sign_in_page, sign_in, code_page, give_code, first_page, first]
API: list[Any] = []
