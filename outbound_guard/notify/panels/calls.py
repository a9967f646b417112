"""What is asked of a control panel, and how it can go wrong."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

MAILBOX, DOMAIN, USER = "mailbox", "domain", "user"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    path: str
    query: dict[str, str] = {}
    form: dict[str, str] = {}
    """The body of a POST, as a form."""
    json: dict[str, Any] | None = None
    """The body of a POST, as JSON."""
    changes: bool = False
    """It changes something; all others only ask."""
    behalf: str = ""
    """The panel's user in whose name it is made, if not the token's own (DirectAdmin)."""

    @property
    def method(self) -> str:
        """GET | POST"""
        return "POST" if self.form or self.json is not None else "GET"

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def body(self) -> tuple[str, bytes]:
        """Media type and octets; both empty for a GET."""
        if self.json is not None:
            return "application/json", msgspec.json.encode(self.json)
        return ("application/x-www-form-urlencoded", urlencode(self.form).encode()) if self.form else ("", b"")


class Subject(msgspec.Struct, frozen=True):
    """Who is to be stopped at the panel."""

    kind: str
    """mailbox (`anna@shop.example`) | domain (its account is meant) | user (the panel's own account, or `uid1012`)"""
    name: str


class Change(msgspec.Struct, frozen=True):
    """What came of it."""

    done: bool
    """False: it was so already, and nothing was changed."""
    text: str


class Away(Exception):  # noqa: N818 -- It says that the panel could not be asked now.
    """It did not work now, and is tried again. The text says why, without any secret."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        """`wait`: at least so many seconds."""
        super().__init__(text)
        self.wait = wait


class Denied(Exception):  # noqa: N818 -- The panel's answer, no fault of ours.
    """The panel answers that it does not do this. The text has its words."""


class NotThere(Exception):  # noqa: N818 -- The panel's answer, no fault of ours.
    """The panel has no such mailbox, domain or account, or cannot stop such a one."""


Ask = Callable[[Call], Awaitable[Any]]
"""Makes a call; what the panel answered, as its module's `read` gives it. Raises Away, Denied, NotThere."""

LOCKED_OUT = 1800.0
"""Seconds after which a wrong token is tried again: panels lock out addresses that guess."""


def said(text: object, longest: int = 200) -> str:
    """A panel's words as one line without control characters."""
    one = " ".join(re.sub(r"<[^<>]{0,200}>", " ", str(text)).split())
    one = "".join(letter if letter.isprintable() else "?" for letter in one)
    return one if len(one) <= longest else f"{one[: longest - 1]}…"


def refused_by_status(status: int, body: bytes) -> None:
    """Raise Away or Denied for a status other than 2xx; `body` may say why."""
    if 200 <= status < 300:
        return
    if status in (401, 403):
        raise Away(f"answered {status}: the token, or the address that we come from, is not accepted", LOCKED_OUT)
    if 300 <= status < 400:
        raise Away(f"answered {status}, a redirect, which is not followed: is the URL right?")
    text = said(body[:2000].decode("utf-8", "replace"), 120)
    if status == 429 or status >= 500:
        raise Away(f"answered {status}: {text}")
    raise Denied(f"answered {status}: {text}")


def json_object(kind: str, body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises Away for anything else, such as a page for people."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        what = "a page for people" if kind == "text/html" or body[:64].lstrip().startswith(b"<") else "no JSON"
        raise Away(f"answered with {what}: {said(body[:2000].decode('utf-8', 'replace'), 80)}") from None
    if not isinstance(found, dict):
        raise Away("answered with JSON of another shape than documented")
    return found
