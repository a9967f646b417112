"""One's own account: password, second factor, sessions."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import PermissionDeniedException
from litestar.params import Body, FromPath
from litestar.response import Redirect
from markupsafe import Markup

from outbound_guard.console.access import SIGNED_IN, Asked, client_of
from outbound_guard.console.pages import go, page
from outbound_guard.console.signin import GivenAccess, agent_of, signed_in
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.secondfactor import qr
from outbound_guard.desk.people.users import SCOPES


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and what that user or token may do."""

    name: str
    """The user; of a token the one who made it."""
    role: str
    """viewer | operator | admin"""
    scopes: tuple[str, ...]
    by: str
    """As journal and audit name it."""


class PasswordForm(msgspec.Struct):
    """Another password."""

    current: str = ""
    new: str = ""
    again: str = ""


class Confirmation(msgspec.Struct):
    """The password once more."""

    password: str = ""


class FirstCode(msgspec.Struct):
    """The first code of a second factor."""

    code: str = ""


@get("/me", needs=SIGNED_IN, sync_to_thread=False)
def me_api(request: Asked) -> Me:
    """Who asks, and what may be done with this token or session."""
    acting = request.user
    scopes = tuple(scope for scope in SCOPES if acting.may(scope))
    return Me(name=acting.name, role=acting.role, scopes=scopes, by=acting.by)


@get("/me", needs=SIGNED_IN)
async def me_page(request: Asked, access: GivenAccess) -> Response[str]:
    """One's own account."""
    name = request.user.name
    return page(
        request,
        "users/me.html",
        user=await access.users.one(name),
        sessions=await access.sessions.of_user(name),
        tokens=await access.tokens.all(name),
        scopes=[scope for scope in SCOPES if request.user.may(scope)],
        value="",
    )


@post("/me/password", needs=SIGNED_IN)
async def own_password(
    request: Asked,
    access: GivenAccess,
    data: Annotated[PasswordForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Sets another password; all other sessions end."""
    name = person(request)
    if data.new != data.again:
        raise DeskError("the two new passwords differ")
    await access.sign_in.check(name, data.current, client=client_of(request))
    await access.users.set_password(name, data.new, by=request.user.by)
    begun = await access.sign_in.renew(name, client=client_of(request), agent=agent_of(request))
    said = go("/me", "You have another password now. All your other sessions have ended.")
    if begun is None:
        return said
    answer = signed_in(request, begun, "/me")
    answer.cookies += said.cookies
    return answer


@get("/me/second-factor", needs=SIGNED_IN)
async def second_factor_page(request: Asked, access: GivenAccess) -> Response[Any]:
    """The QR code of a second factor that was begun, and the question for its first code."""
    begun = await access.second_factor.waiting(person(request))
    if begun is None:
        return go("/me")
    return page(request, "users/second_factor.html", begun=begun, qr=Markup(qr(begun.uri)))  # noqa: S704 -- made by us.


@post("/me/second-factor/begin", needs=SIGNED_IN)
async def begin_second_factor(
    request: Asked,
    access: GivenAccess,
    data: Annotated[Confirmation, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Redirect:
    """Makes a secret, which counts once its first code was given."""
    name = person(request)
    await access.sign_in.check(name, data.password, client=client_of(request))
    await access.second_factor.begin(name, by=request.user.by)
    return go("/me/second-factor")


@post("/me/second-factor/confirm", needs=SIGNED_IN)
async def confirm_second_factor(
    request: Asked, access: GivenAccess, data: Annotated[FirstCode, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Response[str]:
    """The first code: from now on one is asked for. Shows the recovery codes, this once."""
    codes = await access.second_factor.confirm(person(request), data.code[:20], by=request.user.by)
    return page(request, "users/codes.html", codes=codes, new=True)


@post("/me/second-factor/codes", needs=SIGNED_IN)
async def new_codes(
    request: Asked,
    access: GivenAccess,
    data: Annotated[Confirmation, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[str]:
    """New recovery codes, shown this once; the old ones are void."""
    name = person(request)
    await access.sign_in.check(name, data.password, client=client_of(request))
    return page(
        request, "users/codes.html", codes=await access.second_factor.new_codes(name, by=request.user.by), new=False
    )


@post("/me/second-factor/off", needs=SIGNED_IN)
async def no_second_factor(
    request: Asked,
    access: GivenAccess,
    data: Annotated[Confirmation, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Redirect:
    """From now on the password is enough."""
    name = person(request)
    await access.sign_in.check(name, data.password, client=client_of(request))
    await access.second_factor.turn_off(name, by=request.user.by)
    return go("/me", "From now on your password alone is asked for.")


@post("/me/sessions/end-others", needs=SIGNED_IN)
async def end_others(request: Asked, access: GivenAccess) -> Redirect:
    """Ends all sessions but this one."""
    name = person(request)
    number = await access.sessions.end_all(name, by=request.user.by, besides=request.user.session)
    return go("/me", f"{number} other {'session has' if number == 1 else 'sessions have'} ended.")


@post("/me/sessions/{id:str}/end", needs=SIGNED_IN)
async def end_session(request: Asked, access: GivenAccess, id: FromPath[str]) -> Redirect:
    """Ends one of one's own sessions."""
    await access.sessions.end(person(request), id, by=request.user.by)
    return go("/me", "The session has ended.")


def person(request: Asked) -> str:
    """The name of who signed in. Raises PermissionDeniedException for tokens: an account is its person's business."""
    if not request.user.session:
        raise PermissionDeniedException("this is for people who are signed in, not for tokens")
    return request.user.name


PAGES = [
    me_page,
    own_password,
    second_factor_page,
    begin_second_factor,
    confirm_second_factor,
    new_codes,
    no_second_factor,
    end_others,
    end_session,
]
API = [me_api]
