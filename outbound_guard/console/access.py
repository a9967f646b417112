"""Who asks, and whether he may: every route names the scope it needs, and one that names none lets nobody in.

    @get("/held", needs="read")          a session or a token with that scope
    @get("/sign-in", needs=NOBODY)       everybody

People have a session (a cookie that scripts cannot read, and that no other site can make a browser send); programs have
a token (`Authorization: Bearer og_...`). What changes something needs, with a session, its CSRF token as the field
`csrf` of the form or in the header `X-CSRF-Token`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException, NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from outbound_guard.desk.people.access import Access, Acting

COOKIES = ("__Host-og_session", "og_session")
"""The session's cookie: by https, and by http."""
NOBODY = "nobody"
"""For routes that need nobody in particular to be signed in."""
BY_LINK = "link"
"""For routes whose path has the secret of a link in it: who is signed in, if anybody is, does not matter there."""
LARGEST_FORM = 2 * 1024 * 1024
"""Octets of a form: 10,000 messages that are named, or a policy of 700,000 characters none of which is plain."""
LARGEST_OF_A_STRANGER = 32 * 1024
"""Octets of the form of somebody who has not signed in."""
SIGNED_IN = "signed-in"
"""For what everybody does with their own sign-in: whoever sees anything may, a tenant too."""
_SAFE = ("GET", "HEAD", "OPTIONS")


ANONYMOUS = Acting(name="", role="", scopes=frozenset(), by="")
"""Nobody is signed in."""

Asked = Request[Acting, Any, Any]
"""The request, as handlers get it: `request.user` is who acts, ANONYMOUS if nobody is signed in."""


class Authentication(AbstractAuthenticationMiddleware):
    """Finds out who asks. That nobody does is no error here; `permit` decides."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """Who makes a request. Raises NotAuthorizedException for a token that is not valid, LedgerError."""
        if _needs(connection) == BY_LINK:
            return AuthenticationResult(user=ANONYMOUS, auth=None)
        access: Access = connection.app.state.access
        scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            acting = await access.of_token(secret.strip())
            if acting is None:
                raise NotAuthorizedException("this token is not valid")
        else:
            acting = await access.of_cookie(cookie_of(connection), client_of(connection))
        return AuthenticationResult(user=acting or ANONYMOUS, auth=None)


def cookie_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The value of the session's cookie; empty if there is none."""
    secure = connection.url.scheme == "https"
    return connection.cookies.get(COOKIES[0] if secure else COOKIES[1], "")


def client_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The address of the client."""
    return connection.client.host if connection.client else ""


async def permit(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The guard of all routes. Raises NotAuthorizedException, PermissionDeniedException."""
    needs = handler.opt.get("needs")
    if needs in (NOBODY, BY_LINK):
        return
    # The middleware leaves OPTIONS alone: then it is not known who asks.
    acting: Acting = connection.scope.get("user") or ANONYMOUS
    if not acting.by:
        raise NotAuthorizedException("sign in first")
    if needs == SIGNED_IN and (acting.may("read") or acting.may("own")):
        return
    if not needs or not acting.may(needs):
        raise PermissionDeniedException(f"this needs the scope `{needs}`, which {acting.name} does not have")


async def check_origin(request: Asked) -> None:
    """What changes something must come from a page of ours, or from a token. Raises PermissionDeniedException.

    Raises HTTPException for a question that no database takes: PostgreSQL has no text with NUL in it.
    """
    if b"%00" in request.scope["query_string"] or "\x00" in request.scope["path"]:
        raise HTTPException(status_code=400, detail="there is a NUL in what was asked")
    if request.method in _SAFE:
        return
    # A page without a referrer sends its forms with the origin `null` (Fetch 4.3); there the path is the secret.
    if not (_from_here(request) or (_needs(request) == BY_LINK and _says_nothing(request))):
        raise PermissionDeniedException("this came from a page of another site")
    known = bool(request.user.by)
    if not (known and (request.url.path.startswith("/api/") or _is_upload(request))):
        # To take a form of some megabytes apart stops everything else in the process for seconds. What says that it
        # has another type is taken for a form all the same.
        largest = LARGEST_FORM if known else LARGEST_OF_A_STRANGER
        if len(await request.body()) > largest:
            raise HTTPException(status_code=413, detail=f"a form has at most {largest} octets")
    expected = request.user.csrf
    if not request.user.session:
        return
    given = request.headers.get("x-csrf-token", "")
    if not given and (request.content_type[0] in _FORMS):
        given = str((await request.form()).get("csrf", ""))
    if not expected or not secrets.compare_digest(given.encode(), expected.encode()):
        raise PermissionDeniedException("the page was too old, or not ours: open it again")


def _needs(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """What the route asked for needs; empty where no route was found."""
    handler = connection.scope.get("route_handler")
    return str(handler.opt.get("needs", "")) if handler is not None else ""


def _says_nothing(request: Asked) -> bool:
    """True if the browser does not say which site's page made it ask."""
    return "sec-fetch-site" not in request.headers and request.headers.get("origin") == "null"


def _is_upload(request: Asked) -> bool:
    """True if files come with the form."""
    return request.content_type[0] == RequestEncodingType.MULTI_PART


def _from_here(request: Asked) -> bool:
    """False if the browser says that another site's page made it ask; what is no browser says nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    # Not said over http to another machine; the origin is.
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


_FORMS = (RequestEncodingType.URL_ENCODED, RequestEncodingType.MULTI_PART)


def unguarded(handlers: Sequence[BaseRouteHandler]) -> list[str]:
    """Handlers that forgot to say whom they are for; nobody gets in there."""
    return [str(handler) for handler in handlers if not handler.opt.get("needs")]
