"""XCLIENT: what a filter or mail proxy in front of us says about its own client, as Postfix and others send it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from outbound_guard.edge import answers
from outbound_guard.edge.paths import unfit_host_name

if TYPE_CHECKING:
    from outbound_guard.edge.session import Session

NAMES = "NAME REVERSE_NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
"""What is taken, as EHLO announces it. Of NAME, REVERSE_NAME and DEST* nothing is kept."""
_KNOWN = frozenset(NAMES.split())
_ABSENT = ("[UNAVAILABLE]", "[TEMPUNAVAIL]", "[TEMPORARY]")
"""There is none, or it could not be found out; the last is the older spelling."""
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*")
"""RFC 3461 4."""
_ENCODED = re.compile(r"\+([0-9A-Fa-f]{2})")
_LONGEST = 255


class Said(msgspec.Struct, frozen=True):
    """What was said; None: nothing, "": that it is not known."""

    address: str | None = None
    port: int | None = None
    helo: str | None = None
    login: str | None = None


NOTHING = Said()


def allowed(session: Session) -> bool:
    """Whether the host that is connected (not the client that it told of) may use XCLIENT."""
    may = session.terms.tells_of_others
    return may is not None and may(session.handed_on_by or session.client_ip)


def obey(session: Session, words: str) -> None:
    """Carry XCLIENT out: the session begins anew, with the client that was told of, whose address decides on trust."""
    if not allowed(session):
        session.wrong(answers.NO_XCLIENT, "xclient")
        return
    if not session.at_rest:
        session.wrong(answers.NOT_IN_TRANSACTION, "sequence")
        return
    said = take(words)
    if said is None:
        session.wrong(answers.XCLIENT_SYNTAX, "syntax")
        return
    session.forget_client()
    session.handed_on_by = session.handed_on_by or session.client_ip
    session.told = told = and_before(session.told, said)
    if told.address is not None:
        session.known = bool(told.address)
        # A port belongs to the address that it was told with.
        session.client_ip, session.client_port = told.address or session.handed_on_by, 0
    if said.port is not None:
        session.client_port = said.port
    session.helo, session.login = told.helo or "", told.login or None
    session.server = session.login if session.login and session.terms.is_server(session.login) else None
    session.idle_command()
    session.say(session.terms.greeting)


def and_before(before: Said, said: Said) -> Said:
    """What holds after `said`: what was said before, as far as nothing else is said now."""
    now = {name: value for name, value in msgspec.structs.asdict(said).items() if value is not None}
    return msgspec.structs.replace(before, **now)


def take(words: str) -> Said | None:
    """What follows the word XCLIENT, or None if it is wrong in any way; then all of it is refused."""
    said: dict[str, str | int] = {}
    seen = set()
    for word in words.split():
        name, equals, given = word.partition("=")
        name = name.upper()
        value = _value(given)
        if not equals or name not in _KNOWN or name in seen or value is None:
            return None
        seen.add(name)
        key, read = _READERS[name]
        found = read(value)
        if found is None:
            return None
        said[key] = found
    said.pop("", None)
    return msgspec.convert(said, Said) if seen else None


def _value(given: str) -> str | None:
    """xtext decoded; "" for what is not known, None if it is no xtext, empty, too long, or not UTF-8."""
    if given.upper() in _ABSENT:
        return ""
    if not given or not _XTEXT.fullmatch(given):
        return None
    octets = _ENCODED.sub(lambda found: chr(int(found[1], 16)), given).encode("latin-1")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if len(text) <= _LONGEST and text.isprintable() else None


def _address(value: str) -> str | None:
    if not value:
        return ""
    six = value[:5].upper() == "IPV6:"
    try:
        found = ipaddress.IPv6Address(value[5:]) if six else ipaddress.IPv4Address(value)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return None if "%" in value else str(mapped or found)


def _port(value: str) -> int | None:
    if not value:
        return 0
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 65535 else None


def _helo(value: str) -> str | None:
    return None if unfit_host_name(value) else value


def _protocol(value: str) -> str | None:
    return value if value.upper() in ("", "SMTP", "ESMTP") else None


def _login(value: str) -> str | None:
    return value if not any(letter.isspace() for letter in value) else None


def _any(value: str) -> str | None:
    return value


_READERS: dict[str, tuple[str, Callable[[str], str | int | None]]] = {
    "NAME": ("", _any),
    "REVERSE_NAME": ("", _any),
    "ADDR": ("address", _address),
    "PORT": ("port", _port),
    "PROTO": ("", _protocol),
    "HELO": ("helo", _helo),
    "LOGIN": ("login", _login),
    "DESTADDR": ("", _address),
    "DESTPORT": ("", _port),
}
"""Where it is kept (nowhere: ""), and what reads it."""
