"""What types cannot say about notices. Every function raises Mistake with the path of the setting."""

from __future__ import annotations

import re
import string
from urllib.parse import urlsplit

from outbound_guard.config.files import readable
from outbound_guard.config.notices import ABUSE, FOR_CUSTOMERS, KINDS, NoticeRoute
from outbound_guard.config.reading import Mistake
from outbound_guard.config.settings import Config
from outbound_guard.config.values import positive

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl")
"""Of which there are texts."""
NAMES = frozenset(
    (
        "id",
        "kind",
        "description",
        "time",
        "account",
        "sender",
        "subject",
        "count",
        "scope",
        "until",
        "reason",
        "client_ip",
        "mail_from",
        "message_id",
    )
)
"""What a template may have in it."""
ADDRESS = re.compile(r"[^\s@<>\"(),;:\\]{1,64}@[^\s@<>\"(),;:\\]{1,255}")
_OF = {
    "url": ("webhook", "chat"),
    "secret_file": ("webhook", "chat"),
    "authorization_file": ("webhook", "chat"),
    "ca_file": ("webhook", "chat"),
    "allow_private": ("webhook", "chat"),
    "template": ("webhook",),
    "to": ("mail", "arf"),
    "language": ("mail",),
    "html": ("mail",),
}
"""Settings that only these carriers have."""


def check_notices(config: Config) -> None:
    """[notices] and its routes."""
    notices = config.notices
    for key in ("desk", "address"):
        _address(f"notices.{key}", getattr(notices, key))
    _language("notices.language", notices.language)
    if not notices.retry:
        raise Mistake("notices.retry", "is empty; expected seconds until each next try, for example [10, 60, 300]")
    for number, wait in enumerate(notices.retry):
        if wait <= 0:
            raise Mistake(f"notices.retry[{number}]", f"{wait:g} is not possible; it must be more than 0")
    positive("notices", notices, "expiry", "failures", "pause")
    names: dict[str, int] = {}
    for number, route in enumerate(config.notice):
        where = f"notice[{number}]"
        if not re.fullmatch(r"[\w.-]{1,64}", route.name):
            raise Mistake(f"{where}.name", f'"{route.name}" is no name; expected letters, digits, ".", "-" and "_"')
        if names.setdefault(route.name, number) != number:
            raise Mistake(f"{where}.name", f'"{route.name}" is already the name of notice[{names[route.name]}]')
        _route(config, where, route)


def _route(config: Config, where: str, route: NoticeRoute) -> None:
    for key, carriers in _OF.items():
        if getattr(route, key) and route.carrier not in carriers:
            raise Mistake(
                f"{where}.{key}", f"means nothing for {route.carrier}; it belongs to {' and '.join(carriers)}"
            )
    for place, kind in enumerate(route.kinds):
        if kind not in KINDS:
            raise Mistake(f"{where}.kinds[{place}]", f'"{kind}" is no kind of notice; there are {", ".join(KINDS)}')
    fits: tuple[str, ...] = ABUSE if route.carrier == "arf" or route.form == "mailchannels" else KINDS
    fits = FOR_CUSTOMERS if fits is KINDS and route.to == "customer" else fits
    for place, kind in enumerate(route.kinds):
        if kind not in fits:
            raise Mistake(f"{where}.kinds[{place}]", f'"{kind}" does not fit this route; {", ".join(fits)} do')
    positive(where, route, "timeout", "most_per_day")
    if route.carrier in ("webhook", "chat"):
        _url(f"{where}.url", route.url, private=route.allow_private)
        for key in ("secret_file", "authorization_file", "ca_file"):
            if getattr(route, key):
                readable(config, f"{where}.{key}", getattr(route, key))
    else:
        _to(config, where, route)
    if route.form != "own" and route.carrier != "webhook":
        raise Mistake(f"{where}.form", f"means nothing for {route.carrier}; it belongs to webhook")
    if bool(route.template) != (route.form == "template"):
        missing = "is missing; name a file" if route.form == "template" else 'needs form = "template"'
        raise Mistake(f"{where}.template", missing)
    if route.template:
        _template(config, f"{where}.template", route.template)
    if route.language:
        _language(f"{where}.language", route.language)


def _to(config: Config, where: str, route: NoticeRoute) -> None:
    if not route.to:
        raise Mistake(f"{where}.to", 'is missing; expected "customer", "desk" or an address')
    if route.to == "desk":
        if not (config.notices.desk or config.cases.contact):
            raise Mistake("notices.desk", f"is needed for {where}.to; name the address of your abuse desk")
    elif route.to != "customer":
        _address(f"{where}.to", route.to)


def _url(where: str, text: str, *, private: bool) -> None:
    if not text:
        raise Mistake(where, 'is missing; expected one like "https://hooks.example.net/guard"')
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise Mistake(where, f'"{text}" is no URL: {error}') from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0 or not text.isascii():
        raise Mistake(where, f'"{text}" is no URL; expected one like "https://hooks.example.net/guard"')
    if parts.scheme == "http" and not private:
        raise Mistake(where, "is not encrypted; use https, or allow_private = true for a receiver in your own network")
    if parts.username is not None or parts.password is not None:
        raise Mistake(where, "has a password in it; use authorization_file")
    if parts.fragment or any(letter <= " " for letter in text):
        raise Mistake(where, f'"{text}" is no URL to send to')


def _address(where: str, text: str) -> None:
    if text and not (ADDRESS.fullmatch(text) and text.isascii()):
        raise Mistake(where, f'"{text}" is no address; expected one like "abuse@example.net"')


def _language(where: str, text: str) -> None:
    if text not in LANGUAGES:
        raise Mistake(where, f'"{text}" is none of the languages there are: {", ".join(LANGUAGES)}')


def _template(config: Config, where: str, name: str) -> None:
    readable(config, where, name)
    text = config.resolve(name).read_text(encoding="utf-8", errors="replace")
    for found in string.Template.pattern.finditer(text):
        word = found["named"] or found["braced"]
        if word and word not in NAMES:
            raise Mistake(where, f"{name} has ${{{word}}} in it; known are {', '.join(sorted(NAMES))}")
        if found["invalid"] is not None:
            raise Mistake(where, f"{name} has a single $ in it; write $$")
