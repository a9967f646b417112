"""The paths of MAIL and RCPT (RFC 5321 4.1.2, RFC 6531 3.3), by one regular expression each."""

from __future__ import annotations

import ipaddress
import re

# Atoms of RFC 5322 with what RFC 6531 adds. Dots may stand anywhere: some real mailboxes are called `a..b@` or `a.@`.
_DOT_STRING = r'[^\s\x00-\x20\x7f-\x9f"(),:;<>@\[\\\]]+'
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f-\x9f\u2028\u2029]|\\[\x20-\x7e])*"'
# Letters, digits, hyphens, the underscore of careless administrators, and U-labels.
_LABEL = r"[^\s\x00-,./:-@\[-^`{-\x9f]+"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[[0-9A-Za-z:.]+\]"
# RFC 5321 4.1.2: source routes MUST be accepted and SHOULD be ignored.
_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
_MAILBOX = rf"((?:{_DOT_STRING}|{_QUOTED})@(?:{_DOMAIN}|{_LITERAL}))"

# A space after the colon is wrong but common.
_FROM = re.compile(rf"[ \t]*<(?:{_ROUTE}{_MAILBOX})?>(?:[ \t]+(\S.*)?)?")
_TO = re.compile(rf"[ \t]*<(?:{_ROUTE}{_MAILBOX}|((?i:postmaster)))>(?:[ \t]+(\S.*)?)?")

_LONGEST_ADDRESS = 320
"""64 + "@" + 255 (RFC 5321 4.5.3.1). Within it, longer local parts are let through: SRS and VERP make them."""


def reverse_path(text: str) -> tuple[str, str] | None:
    """Sender and parameters of what follows `MAIL FROM:`, or None if it is no path. The null sender is ""."""
    found = _FROM.fullmatch(text)
    if found is None:
        return None
    address = found[1] or ""
    return (address, found[2] or "") if not address or _sound(address) else None


def forward_path(text: str) -> tuple[str, str] | None:
    """Recipient and parameters of what follows `RCPT TO:`, or None if it is no path. `<Postmaster>` needs no domain."""
    found = _TO.fullmatch(text)
    if found is None:
        return None
    address = found[1] or found[2]
    return (address, found[3] or "") if found[2] or _sound(address) else None


def unfit_host_name(name: str) -> bool:
    """True if what HELO or EHLO gave as a name may not be kept: it will stand in a Received field.

    Real clients give names that are no domains, so only what could end or forge something there is refused.
    """
    return not name.isascii() or not name.isprintable() or len(name) > 255 or any(c in ' "(),;<>\\' for c in name)


def _sound(address: str) -> bool:
    """What the regular expression cannot say: lengths and address literals."""
    if len(address) <= 255 and "[" not in address:
        return True
    if len(address) > _LONGEST_ADDRESS:
        return False
    domain = address[address.rfind("@") + 1 :]
    if len(domain) > 255:
        return False
    return domain[0] != "[" or _is_literal(domain[1:-1])


def _is_literal(text: str) -> bool:
    """RFC 5321 4.1.3: `192.0.2.1` or `IPv6:2001:db8::1`."""
    try:
        if text[:5].upper() == "IPV6:":
            ipaddress.IPv6Address(text[5:])
        else:
            ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
