"""The web application: the routes of all areas, and what holds for every one of them."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

from litestar import Litestar, Response, Router, get
from litestar._parsers import parse_url_encoded_form_data
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import MediaType
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from sqlalchemy.exc import DataError

from outbound_guard import __version__
from outbound_guard.console.access import BY_LINK, NOBODY, Asked, Authentication, check_origin, permit, unguarded
from outbound_guard.console.areas import API, PAGES
from outbound_guard.console.customers import Desk as CustomersDesk
from outbound_guard.console.description import description
from outbound_guard.console.pages import HERE, back, page
from outbound_guard.console.tools import Tools
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.access import Access
from outbound_guard.ledger.database import LedgerError

_log = logging.getLogger(__name__)

LARGEST = 16 * 1024 * 1024
"""Octets of a request."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"cache-control": b"no-store",
}
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}

_IMPOSSIBLE: dict[type[Exception], str] = {
    OverflowError: "a number is too large",
    RecursionError: "this is nested too deeply",
    DataError: "this cannot be stored or searched for, such as a text with NUL in it",
}
"""What a request can bring about that no column holds and no parser takes, and what is said of it."""


def application(tools: Tools, access: Access) -> Litestar:
    """The application; `access` knows users, sessions and tokens."""
    return Litestar(
        route_handlers=[
            _static,
            _description,
            Router("/", route_handlers=[*PAGES], include_in_schema=False, security=[]),
            Router("/api/v1", route_handlers=[*API], security=[{"token": []}]),
        ],
        dependencies={
            "tools": Provide(lambda: tools, sync_to_thread=False),
            "access": Provide(lambda: access, sync_to_thread=False),
        },
        guards=[permit],
        before_request=check_origin,
        middleware=[_tidied, DefineMiddleware(Authentication)],
        before_send=[_with_headers],
        exception_handlers={
            HTTPException: _refused,
            DeskError: _not_done,
            LedgerError: _no_ledger,
            **dict.fromkeys(_IMPOSSIBLE, _impossible),
            500: _failed,
        },
        openapi_config=OpenAPIConfig(
            title="Outbound Guard",
            version=__version__,
            description="What the console does, for programs: `Authorization: Bearer og_...` with a token of yours.",
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
            path="/openapi",
            use_handler_docstrings=True,
            render_plugins=[],
        ),
        request_max_body_size=LARGEST,
        state=State({"tools": tools, "access": access, "organisation": _organisation(tools)}),
        on_startup=[_open_customers],
        on_app_init=[_checked],
        logging_config=None,
        debug=False,
    )


def _open_customers(app: Litestar) -> None:
    # Not before the work begins: a description of the routes needs no ledger.
    app.state.customers = CustomersDesk(app.state.tools)


def _organisation(tools: Tools) -> str:
    return tools.config.cases.organisation or tools.config.server.hostname


def _checked(config: AppConfig) -> AppConfig:
    forgotten = unguarded([handler for handler in (*PAGES, *API) if hasattr(handler, "opt")])
    if forgotten:
        raise RuntimeError(f"routes without `needs`: {', '.join(forgotten)}")
    return config


@get("/static/{name:str}", needs=NOBODY, include_in_schema=False, sync_to_thread=True)
def _static(name: FromPath[str]) -> Response[bytes]:
    file = HERE / "static" / name
    # The name is one part of a path; only what lies in the folder is there.
    if name not in {found.name for found in (HERE / "static").iterdir()}:
        raise HTTPException(status_code=404, detail="no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(file.read_bytes(), media_type=_TYPES.get(file.suffix, "application/octet-stream"), headers=headers)


@get("/openapi.json", needs=NOBODY, include_in_schema=False, sync_to_thread=False)
def _description(request: Asked) -> dict[str, Any]:
    """The API as OpenAPI 3.1."""
    return description(request.app)


def _tidied(app: ASGIApp) -> ASGIApp:
    """Leaves the empty fields of a form out of the query: they restrict nothing, and are no numbers."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"")
        parts = (part for part in query.split(b"&") if part)
        scope["query_string"] = b"&".join(part for part in parts if part.partition(b"=")[1:] != (b"=", b""))
        try:
            await app(scope, receive, send)
        finally:
            if scope.get("method") == "POST":
                # The framework keeps the last 1024 forms, passwords in them, and however large they are.
                parse_url_encoded_form_data.cache_clear()

    return asked


async def _with_headers(message: Message, scope: Scope) -> None:
    """Adds the headers that every answer has, unless it has its own."""
    if message["type"] == "http.response.start":
        headers = list(message.get("headers", ()))
        there = {name.lower() for name, _ in headers}
        message["headers"] = headers + [(name, value) for name, value in _HEADERS.items() if name not in there]


def _is_tenant(asked: Asked) -> bool:
    acting = asked.scope.get("user")
    return acting is not None and acting.may("own")


def _is_api(asked: Asked) -> bool:
    return asked.url.path.startswith("/api/") or asked.url.path == "/openapi.json"


def _refused(asked: Asked, error: HTTPException) -> Response[Any]:
    """Nobody signed in, not allowed, not found, wrong input."""
    detail = error.detail
    for wrong in error.extra if isinstance(error.extra, list) else ():
        if isinstance(wrong, dict):
            detail += f"; {wrong.get('key', '')}: {wrong.get('message', '')}"
    if _is_api(asked):
        headers = {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else None
        return _error(error.status_code, detail, headers)
    if error.status_code == 403 and asked.url.path == "/" and asked.method == "GET" and _is_tenant(asked):
        return Redirect("/own", status_code=303)
    if isinstance(error, NotAuthorizedException):
        there = asked.url.path + (f"?{asked.url.query}" if asked.url.query else "")
        where = "/sign-in" + (f"?next={quote(there, safe='')}" if asked.method == "GET" and there != "/" else "")
        return Redirect(where, status_code=303)
    return page(asked, "error.html", status=error.status_code, title=_TITLES.get(error.status_code, "No"), text=detail)


def _not_done(asked: Asked, error: DeskError) -> Response[Any]:
    """The desk says no: 409, or 404 to a question; a page goes back to where the form was, and says why."""
    if _is_api(asked):
        return _error(404 if asked.method == "GET" else 409, str(error))
    if asked.method == "GET":
        return page(asked, "error.html", status=404, title="Not found", text=str(error))
    return back(asked, str(error), bad=True)


def _impossible(asked: Asked, error: Exception) -> Response[Any]:
    """What nobody can have meant: it was sent, since we make none such."""
    text = next(text for kind, text in _IMPOSSIBLE.items() if isinstance(error, kind))
    # Should a mistake of ours come to look like one of theirs, it is found here. What was sent stays out of the log.
    _log.warning("the console was asked what cannot be, at %s %s: %s", asked.method, _where(asked), text)
    if _is_api(asked):
        return _error(400, text)
    return page(asked, "error.html", status=400, title=_TITLES[400], text=text)


def _no_ledger(asked: Asked, error: LedgerError) -> Response[Any]:
    """The ledger cannot be read now. Mail flows all the same."""
    _log.error("the console cannot answer: %s", error)
    text = "The ledger cannot be used right now; mail goes on. Try again in a moment."
    if _is_api(asked):
        return _error(503, text)
    return page(asked, "error.html", status=503, title="Not now", text=text)


def _failed(asked: Asked, error: Exception) -> Response[Any]:
    """A mistake of ours; what went wrong stands in the log, not on the page."""
    _log.error("the console failed at %s %s", asked.method, _where(asked), exc_info=error)
    asked.app.state.tools.metrics.count("background_failures_total")
    if _is_api(asked):
        return _error(500, "an error of ours; the log knows more")
    text = "Something failed on our side. The service's log knows more; nothing was lost."
    return page(asked, "error.html", status=500, title="That failed", text=text)


def _where(asked: Asked) -> str:
    """What the log may know of where something was asked: the path of a customer's link is its secret."""
    handler = asked.scope.get("route_handler")
    by_link = handler is not None and handler.opt.get("needs") == BY_LINK
    return str(asked.scope.get("path_template", "")) if by_link else asked.url.path


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> Response[Any]:
    return Response({"error": text}, status_code=status, media_type=MediaType.JSON, headers=headers)


_TITLES = {400: "Not understood", 403: "Not allowed", 404: "Not found", 405: "Not possible here", 413: "Too large"}
