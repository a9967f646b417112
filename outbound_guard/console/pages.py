"""Pages: templates filled in, with what every one of them shows, and the word about what was done last."""

from __future__ import annotations

import base64
import binascii
import datetime
import functools
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from litestar.datastructures import Cookie
from litestar.enums import MediaType
from litestar.response import Redirect
from markupsafe import Markup, escape

from outbound_guard import __version__
from outbound_guard.console import charts
from outbound_guard.console.access import ANONYMOUS, Asked

HERE = Path(__file__).parent
SAID = "og_said"
"""Cookie with what is to be said on the next page."""
_LONGEST = 500

NAVIGATION = (
    # Path, name, key of the keyboard (after `g`), scope.
    ("/", "Now", "n", "read"),
    ("/held", "Held", "h", "read"),
    ("/queue", "Queue", "q", "read"),
    ("/accounts", "Accounts", "a", "read"),
    ("/messages", "Messages", "m", "read"),
    ("/feedback", "Feedback", "f", "read"),
    ("/addresses", "Addresses", "d", "read"),
    ("/cases", "Cases", "c", "read"),
    ("/policy", "Policy", "p", "read"),
    ("/audit", "Audit", "u", "read"),
    ("/own", "Your accounts", "a", "own"),
    ("/own/held", "Held mail", "h", "own"),
    ("/own/messages", "Messages", "m", "own"),
)


def page(asked: Asked, template: str, *, status: int = 200, **context: Any) -> Response[str]:
    """A page. `template` is a file of `templates/`; its context has also acting, path, csrf, said and now."""
    # Where no route was found nobody has asked who it is.
    acting = asked.scope.get("user") or ANONYMOUS
    text = (
        environment()
        .get_template(template)
        .render(
            asked=asked,
            acting=acting,
            path=asked.url.path,
            csrf=acting.csrf,
            said=_said(asked),
            now=asked.app.state.tools.clock.now(),
            organisation=asked.app.state.organisation,
            **context,
        )
    )
    response = Response(text, media_type=MediaType.HTML, status_code=status)
    if asked.cookies.get(SAID):
        response.delete_cookie(SAID)
    return response


def go(to: str, said: str = "", *, bad: bool = False) -> Redirect:
    """On to another page of ours (303), which then says what was done; `bad`: what was not."""
    response = Redirect(local(to), status_code=303)
    if said:
        told = base64.urlsafe_b64encode(msgspec.json.encode(("bad" if bad else "good", said[:_LONGEST]))).decode()
        response.set_cookie(Cookie(key=SAID, value=told, max_age=60, httponly=True, samesite="strict", path="/"))
    return response


def back(asked: Asked, said: str = "", *, bad: bool = False, otherwise: str = "/") -> Redirect:
    """To the page the form was on."""
    host, _, path = asked.headers.get("referer", "").partition("://")[2].partition("/")
    return go(f"/{path.partition('#')[0]}" if host == asked.headers.get("host") else otherwise, said, bad=bad)


def local(to: str) -> str:
    """A path of ours, whatever was given: an address elsewhere becomes `/`."""
    if not to.startswith("/") or to.startswith("//") or "\\" in to or not to.isprintable():
        return "/"
    return quote(to, safe="/?&=%:@+,;~!$'()*#-._")


def link(path: str, **query: Any) -> str:
    """A path with a query; what is empty is left out."""
    query = {name: value for name, value in query.items() if value not in ("", None, 0, ())}
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


@functools.cache
def environment() -> Environment:
    """The templates, with their filters."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        navigation=NAVIGATION, version=__version__, static=static, link=link, chart=charts, len=len, min=min, max=max
    )
    made.filters.update(
        when=when,
        date=date,
        clock=clock,
        ago=ago,
        number=number,
        octets=octets,
        signed=signed,
        path_part=path_part,
        coded=coded,
    )
    return made


@functools.cache
def static(name: str) -> str:
    """The address of a static file; it changes with the file, so that browsers may keep it for ever."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def when(time: float) -> str:
    """A moment as the server's clock shows it, with its zone; `-` for none."""
    return _moment(time).strftime("%Y-%m-%d %H:%M:%S %Z") if time else "-"


def date(time: float) -> str:
    """A moment to the minute."""
    return _moment(time).strftime("%Y-%m-%d %H:%M") if time else "-"


def clock(time: float) -> str:
    """The time of day."""
    return _moment(time).strftime("%H:%M") if time else "-"


def ago(seconds: float) -> str:
    """A span of time in its largest unit: `12 min`, `3 h`, `5 d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def number(value: float) -> str:
    """A count with its thousands apart."""
    return f"{value:,.0f}".replace(",", "\u202f")


def octets(value: float) -> str:
    """A size in its unit."""
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def signed(value: float) -> str:
    """A weight of evidence: two places, always with its sign."""
    return f"{value:+.2f}".replace("-", "\u2212")


def coded(text: str) -> Markup:
    """A sentence of ours in which `words` are names: as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def path_part(text: str) -> str:
    """Any string as one part of a path."""
    return quote(text, safe="")


def _moment(time: float) -> datetime.datetime:
    try:
        return datetime.datetime.fromtimestamp(time).astimezone()
    except (ValueError, OverflowError, OSError):
        return datetime.datetime.fromtimestamp(0).astimezone()


def _said(asked: Asked) -> tuple[str, str] | None:
    """What the last page left to be said: `good` or `bad`, and the text."""
    try:
        told = base64.urlsafe_b64decode(asked.cookies.get(SAID, ""))
        return msgspec.json.decode(told, type=tuple[str, str]) if told else None
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return None
