"""What an answer of a list means. Most false listings are answers that were none: these are unknown, never listed.

A listing is an address in 127/8 (RFC 5782 2.1) that is no error code and has a meaning in the list's file. An address
elsewhere comes from a resolver that invents some, or from a zone whose domain was sold. Lists tell those who ask too
much, or through a public resolver, by 127.255.255.x or 127.0.0.1; who takes that for a listing finds all the world
listed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import msgspec

from outbound_guard.blocklist.listing import CLEAN, LISTED, UNKNOWN
from outbound_guard.blocklist.lists import Code, Dnsbl

_SCOPES = ("address", "range", "network")
_LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")
_ERRORS = {
    "127.255.255.252": "the list says that its zone is misspelt",
    "127.255.255.254": "the list refuses questions through public resolvers",
    "127.255.255.255": "the list says that it is asked too often",
    "127.255.255.0/24": "the list refuses to answer us",
    "127.0.0.1": "the list refuses to answer us",
}


class Meaning(msgspec.Struct, frozen=True):
    """What an answer means."""

    state: str
    reason: str = ""
    scope: str = "address"
    weight: float = 0.0
    refused: bool = False
    """The list does not want to be asked by us."""


def meaning_of(dnsbl: Dnsbl, addresses: Sequence[str]) -> Meaning:
    """What `addresses`, the A records of an answer, say; none of them: not listed."""
    if not addresses:
        return Meaning(CLEAN)
    codes: list[str | Code] = []
    for address in addresses:
        ip = _parsed(address)
        if ip is None or ip not in _LOOPBACK:
            return Meaning(UNKNOWN, f"{address} is no answer of a list: it lies outside 127.0.0.0/8")
        for code, why in (*dnsbl.errors.items(), *_ERRORS.items()):
            if matches(ip, code):
                return Meaning(UNKNOWN, f"{address}: {why}", refused=True)
        codes += [meaning for code, meaning in dnsbl.codes.items() if matches(ip, code)]
    if not dnsbl.codes:
        return Meaning(LISTED, "listed", dnsbl.scope, dnsbl.weight)
    if not codes:
        return Meaning(UNKNOWN, f"{', '.join(addresses)[:200]} has no meaning in the file of lists")
    full = [code if isinstance(code, Code) else Code(meaning=code) for code in codes]
    said = [(dnsbl.weight if code.weight is None else code.weight, code.scope or dnsbl.scope) for code in full]
    # The heaviest decides, of equals the one that says most of the address itself. The weight of one code with the
    # scope of another would be a listing that nobody has made.
    weight, scope = max(said, key=lambda one: (one[0], -_SCOPES.index(one[1])))
    return Meaning(LISTED, ", ".join(dict.fromkeys(code.meaning for code in full)), scope, weight)


def is_listing(dnsbl: Dnsbl, addresses: Sequence[str]) -> bool:
    """True if an answer is a listing of some kind, also one whose code has no meaning in the file: for test entries."""
    return bool(addresses) and meaning_of(msgspec.structs.replace(dnsbl, codes={}), addresses).state == LISTED


def matches(address: ipaddress.IPv4Address, code: str) -> bool:
    """Whether an answer has a code: an address, a network, or a bit of the last octet (`&8`)."""
    if code.startswith("&"):
        # In lists of bits 127.0.0.N is the sum of them; another network says something else.
        return address.packed[:3] == b"\x7f\x00\x00" and bool(address.packed[3] & int(code[1:]))
    return address in ipaddress.IPv4Network(code)


def _parsed(address: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(address)
    except ValueError:
        return None
