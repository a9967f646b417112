"""About this service: its version, where things lie, and what the API offers."""

from __future__ import annotations

import msgspec
from litestar import Response, get

from outbound_guard import __version__
from outbound_guard.console.access import Asked
from outbound_guard.console.description import description
from outbound_guard.console.pages import page
from outbound_guard.console.tools import GivenTools, Tools


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What this service is."""

    version: str
    hostname: str
    mode: str
    """enforce | observe"""
    delivery: str
    """smarthost | direct | sink"""


def _about(tools: Tools) -> About:
    config = tools.config
    return About(
        version=__version__,
        hostname=config.server.hostname,
        mode=config.policy.mode,
        delivery=config.delivery.mode,
    )


@get("/about", needs="read", sync_to_thread=False)
def about_api(tools: GivenTools) -> About:
    """What this service is."""
    return _about(tools)


@get("/about", needs="read", sync_to_thread=False)
def about_page(request: Asked, tools: GivenTools) -> Response[str]:
    """What this service is, and every call of its API."""
    schema = description(request.app)
    calls = [
        (method.upper(), path, call.get("summary", ""), call.get("description", ""))
        for path, methods in schema["paths"].items()
        for method, call in methods.items()
    ]
    return page(request, "about.html", about=_about(tools), calls=calls, config=tools.config)


PAGES = [about_page]
API = [about_api]
