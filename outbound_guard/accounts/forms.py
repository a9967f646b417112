"""The forms in which mail servers write down who sent a message; one small function each, no opinion about trust.

Every function takes a header value as it stands (unfolded) and returns plain parts or None. What they return is safe to
use in a key, a log line or a page: printable, without white space and braces, and short.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

import msgspec

LONGEST = 254
"""Characters of a name; RFC 5321 4.5.3.1.3 leaves an address as many."""
_MEMO = 10_000
"""The same accounts send again and again: so many readings of each form are remembered."""
LONGEST_VALUE = 2000
"""Characters of a header value that are read: no server writes more, and no pattern is to run over it. `identity` sees
to it before anybody reads one: it cuts Received fields, and takes any other longer value for an empty one, since a part
of a name is another name."""
_REMEMBERED = 400
"""Characters of a value whose reading is remembered."""

# A colon in the local part would let an address pose as `server/uid:script`, a brace would break Redis hash tags.
_ADDRESS = re.compile(r"[^\s@:;,\"<>(){}\[\]\\]{1,64}@\w(?:[\w.-]*\w)?")
_WORD = re.compile(r"\w[\w.+-]{0,63}")
_DOMAIN = re.compile(r"\w(?:[\w-]*\w)?(?:\.\w(?:[\w-]*\w)?)+")
_UNSAFE = re.compile(r"[\s{}<>\"'\\@:;,|]|[^\x20-\x7e]")

_Result = TypeVar("_Result")


def _remember(read: Callable[[str], _Result]) -> Callable[[str], _Result]:
    """`read`, with the readings of the last values kept: of short ones, or a client could fill the memory with them."""
    remembered = lru_cache(maxsize=_MEMO)(read)

    @wraps(read)
    def reading(text: str) -> _Result:
        return remembered(text) if len(text) <= _REMEMBERED else read(text)

    return reading


AUTHENTICATED, LOCAL, NETWORK, UNKNOWN = "authenticated", "local", "network", "unknown"


class Received(msgspec.Struct, frozen=True):
    """What the topmost Received field says: how its writer took the message in, and from whom."""

    how: str = UNKNOWN
    """authenticated (a login over SMTP) | local (picked up from a program) | network (from elsewhere) | unknown"""
    by: str = ""
    """The server that wrote it, in lower case."""
    peer: str | None = None
    """The client's address, if it is a valid one and not the server itself."""
    login: str | None = None
    """The login, where the server writes it down: `user@domain` or a bare name."""
    uid: int | None = None
    """The uid of the program that handed it in (Postfix, qmail)."""
    user: str | None = None
    """The system user of the program that handed it in (Exim, Sendmail)."""


_NOTHING = Received()

_PICKED_UP = re.compile(r"by\s+(\S+)\s+\([^()]*\bfrom userid (\d{1,10})\)|\(qmail \d+ invoked by uid (\d{1,10})\)")
_SENDMAIL_LOCAL = re.compile(r"\(from (\S+?)@localhost\)\s+by\s+(\S+)")
# Possessive (`++`): a pattern over what clients wrote never goes back.
_FROM = re.compile(r"from\s++(\S++)\s++")
_BY = re.compile(r"by\s++(\S++)(?:\s++\(([^()]*+)\))?\s++with\s++([\w-]++)")
# Servers keep parentheses out of what the client says of itself: the first `) by` is their own.
_COMMENT_BY = re.compile(r"\)\s++by\s++(\S++)(?:\s++\(([^()]*+)\))?\s++with\s++([\w-]++)")
# `(name [address])` as Postfix writes it, `([address]:port helo=...)` as Exim does.
_PEER = re.compile(r"\((?:[^\s()\[\]=]++ )?\[(?:IPv6:)?([0-9A-Fa-f:.]{2,45}+)\]")
_LITERAL = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]{2,45})\]")
_AUTHENTICATED_SENDER = "(Authenticated sender: "
# RFC 3848 and 6531 section 4.3; the lower-case ones and `asmtp` are Exim's.
_WITH_LOGIN = frozenset({"esmtpa", "esmtpsa", "utf8smtpa", "utf8smtpsa", "utf8esmtpa", "utf8esmtpsa", "asmtp"})
_WITH_TLS = frozenset({"esmtps", "utf8smtps", "utf8esmtps", "lmtps", "utf8lmtps"})
_FROM_A_PROGRAM = frozenset({"local", "local-esmtp", "local-smtp", "local-bsmtp"})


def received(value: str) -> Received:
    """A Received field (RFC 5321 4.4) in the dialects of Postfix, Exim, Sendmail and qmail.

    Only the part in front of the first `<` is read: behind it stand envelope addresses, the client's own words.
    """
    end = value.find("<")
    end = end if end >= 0 else len(value)
    begin = _FROM.match(value, 0, end)
    if begin is None:
        found = _PICKED_UP.match(value, 0, end)
        if found:
            return Received(how=LOCAL, by=(found[1] or "").lower(), uid=int(found[2] or found[3]))
        found = _SENDMAIL_LOCAL.match(value, 0, end)
        if found:
            return Received(how=LOCAL, by=found[2].lower(), user=word(found[1]))
        return _NOTHING
    client, after = begin[1], begin.end()
    by = _COMMENT_BY.search(value, after, end) if value[after : after + 1] == "(" else _BY.match(value, after, end)
    if by is None:
        return _NOTHING
    host, software, protocol = by[1].lower(), by[2], by[3].lower()
    if protocol in _FROM_A_PROGRAM:
        return Received(how=LOCAL, by=host, user=word(client))
    login = None
    place = value.find(_AUTHENTICATED_SENDER, after, by.end())
    if place >= 0:
        place += len(_AUTHENTICATED_SENDER)
        login = mailbox_or_word(value[place : value.find(")", place)])
    if login or protocol in _WITH_LOGIN:
        how = AUTHENTICATED
    elif protocol in _WITH_TLS or software == "Postfix" or value.find("(Exim ", by.end(), end) >= 0:
        # These would have said so, had there been a login; others (SmarterMail) write `with SMTP` for everything.
        how = NETWORK
    else:
        how = UNKNOWN
    peer = _PEER.match(value, after, end) or _LITERAL.fullmatch(client)
    return Received(how=how, by=host, peer=outside_address(peer[1]) if peer else None, login=login)


@_remember
def outside_address(text: str) -> str | None:
    """`text` if it is an IP address that is not the server's own; webmail submits from 127.0.0.1 and says nothing."""
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        return None
    if (len(packed) == 4 and packed[0] == 127) or packed == b"\0" * 15 + b"\1":
        return None
    return text


def safe(text: str) -> bool:
    """True if `text` may stand in a key: printable, no white space, no braces, 1 to 254 characters."""
    return 0 < len(text) <= LONGEST and text.isprintable() and " " not in text and "{" not in text and "}" not in text


@_remember
def address(text: str) -> str | None:
    """`user@domain` in lower case; None for anything else, also for quoted local parts and address literals."""
    text = text.strip("<> \t").lower()
    return text if len(text) <= LONGEST and _ADDRESS.fullmatch(text) and text.isprintable() else None


def word(text: str) -> str | None:
    """A bare login or system user in lower case, or None."""
    text = text.lower()
    return text if _WORD.fullmatch(text) and text.isprintable() else None


@_remember
def domain(text: str) -> str | None:
    """A domain name in lower case, or None."""
    text = text.strip().rstrip(".").lower()
    return text if len(text) <= 253 and _DOMAIN.fullmatch(text) and text.isprintable() else None


@_remember
def mailbox_or_word(text: str) -> str | None:
    """A login as servers write it: `user@domain`, cPanel's `user+domain` and `user%domain`, or a bare name."""
    if "@" in text:
        return address(text)
    for sign in "%+":
        user, found, place = text.rpartition(sign)
        if found and user and "." in place:
            return address(f"{user}@{place}")
    return word(text.strip())


@_remember
def path(text: str) -> str | None:
    """A script's file or path, made safe: what could not stand in a key becomes `_`; at most 100 characters."""
    text = _UNSAFE.sub("_", text.strip())[:100]
    return text or None


def auth_user(value: str) -> str | None:
    """X-AuthUser and X-SmarterMail-Authenticated-As: the whole value is the login."""
    return mailbox_or_word(value)


def authenticated_sender(value: str) -> tuple[str, str] | None:
    """(host, login) from cPanel's X-Authenticated-Sender, `host: user@domain`; a bare name is a system user."""
    host, colon, login = value.partition(":")
    name = mailbox_or_word(login.strip()) if colon else None
    return (host.strip().lower(), name) if name else None


_SENDER_VIA = re.compile(r"(\S+):\s+([^:]{1,100}):\s+(\S+)")


def sender_via(value: str) -> tuple[str, str] | None:
    """(host, login) from cPanel's X-Get-Message-Sender-Via, `host: METHOD: login` or `...: login/how confirmed`."""
    found = _SENDER_VIA.match(value)
    name = mailbox_or_word(found[3].partition("/")[0]) if found else None
    return (found[1].lower(), name) if found and name else None


_PHP_SCRIPT = re.compile(r"(\d{1,10}):\s?([^(]{1,300})")


@_remember
def php_originating_script(value: str) -> tuple[int, str] | None:
    """(uid, file) from PHP's X-PHP-Originating-Script, `1012:mail.php` or `1012:mail.php(3) : eval()'d code`."""
    found = _PHP_SCRIPT.match(value)
    file = path(found[2]) if found else None
    return (int(found[1]), file) if found and file else None


_BEHIND_SCRIPT = re.compile(r"(\.(?:php\d?|phtml|pl|cgi|py))/.*", re.S)


def php_script(value: str) -> tuple[str, str] | None:
    """(domain, path) from X-PHP-Script, `www.example.com/contact.php for 192.0.2.1`.

    Whatever follows the script's name (PATH_INFO) is cut off: visitors of the page choose it.
    """
    return _site_and_path(value.partition(" for ")[0].strip())


@_remember
def _site_and_path(place: str) -> tuple[str, str] | None:
    host, slash, rest = place.partition("/")
    site = domain(host)
    if not slash or site is None:
        return None
    file = path("/" + _BEHIND_SCRIPT.sub(r"\1", rest))
    return (site, file) if file else None


_ARGUMENT = re.compile(r"(?:^|\s)(\S{1,300}\.(?:php\d?|phtml|pl|cgi|py|sh))(?=\s|$)")


def source_args(value: str) -> str | None:
    """The script in cPanel's X-Source-Args, `/usr/bin/php /home/anna/public_html/x.php`; None if it names none."""
    found = _ARGUMENT.search(value)
    return path(found[1]) if found else None


@_remember
def source_dir(value: str) -> tuple[str, str] | None:
    """(domain, directory) from cPanel's X-Source-Dir, `example.com:/public_html/blog`."""
    site, colon, place = value.partition(":")
    name, folder = domain(site), path(place) if colon else None
    return (name, folder) if name and folder else None


_CALLER = re.compile(r"Originator/Caller UID/GID - \[(\d{1,10}) \d{1,10}\]")


@_remember
def caller_uid(value: str) -> int | None:
    """The uid of the calling program in cPanel's X-AntiAbuse; None for the other four and for 47 (Exim itself)."""
    found = _CALLER.match(value)
    return int(found[1]) if found and found[1] != "47" else None


# Sender Rewriting Scheme: SRS0=hash=time=domain=user@forwarder, SRS1=hash=first==...@forwarder; also with - or +.
_SRS = re.compile(r"srs[01][=+-].*@([^@]+)", re.I | re.S)


def srs(mail_from: str) -> str | None:
    """The forwarder's domain, if the envelope sender was rewritten on forwarding (SRS)."""
    found = _SRS.fullmatch(mail_from) if mail_from[:3] in ("SRS", "srs", "Srs") else None
    return domain(found[1]) if found else None


def forwarded_for(value: str) -> str | None:
    """The address that forwards, from X-Forwarded-For, `address target`."""
    return address(value.partition(" ")[0])


_BATV = re.compile(r"prvs=[^=@]{1,40}=(.+)", re.I)


def envelope_sender(mail_from: str) -> str | None:
    """The address behind an envelope sender, the same for every message: without BATV tag and VERP recipient.

    `prvs=0123abcdef=anna@d` is anna@d; `bounce+karl=example.org@d` is bounce@d.
    """
    local, _, place = mail_from.strip("<>").rpartition("@")
    if "=" in local:
        tagged = _BATV.fullmatch(local)
        if tagged:
            local = tagged[1]
        elif "+" in local:
            local = local.partition("+")[0]
        else:
            local = local.partition("=")[0].partition("-")[0]
    return address(f"{local}@{place}")
