"""Whether answers count at all: an honest resolver, and a list that is alive and does not list everything.

RFC 5782 5: a list has entries that are always listed and others that never are, so that a dead one can be told. A zone
whose operator has gone often ends as a wildcard that lists the world, or answers nothing at all; a resolver that puts
an address of its own in the place of "no such name" makes every list look like that.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Awaitable, Callable

import msgspec

from outbound_guard.blocklist.answers import is_listing, meaning_of
from outbound_guard.blocklist.lists import Dnsbl
from outbound_guard.dns import NoAnswer, reversed_name

Ask = Callable[[str], Awaitable[tuple[str, ...]]]


class Problem(msgspec.Struct, frozen=True):
    """Why answers do not count."""

    reason: str
    codes: tuple[str, ...] = ()
    """The answer that shows it, if there was one."""


_LISTED = {"ip4": ("127.0.0.2",), "ip6": ("::ffff:7f00:2", "127.0.0.2"), "domain": ("test", "2.0.0.127")}
"""One of them is enough: a zone is alive or not. Some have no entry for IPv6, and some lists of domains are older than
the RFC's `test`."""
_CLEAN = {"ip4": ("127.0.0.1",), "ip6": ("::ffff:7f00:1",), "domain": ("invalid",)}


async def resolver_lies(ask: Ask) -> Problem | None:
    """Why this resolver cannot be trusted: it knows names that cannot exist. None if nothing is to be said."""
    names = (f"{_nonsense()}.invalid", f"{_nonsense()}.com")  # RFC 6761 6.4; and a name of 160 random bits.
    for found in await asyncio.gather(*map(ask, names), return_exceptions=True):
        if isinstance(found, NoAnswer):
            continue  # A resolver that refuses such names says nothing false.
        if isinstance(found, BaseException):
            raise found
        if found:
            return Problem(f"the resolver answers {', '.join(found)} for names that do not exist", found)
    return None


async def problem_of(dnsbl: Dnsbl, family: str, zone: str, ask: Ask) -> Problem | None:
    """Why the answers of a list about addresses (`family` ip4, ip6) or domains do not count now; None if they do."""
    try:
        if dnsbl.test_entries:
            entries = _entries(dnsbl.test_listed, family) or _LISTED[family]
            if problem := await _dead(dnsbl, entries, zone, ask):
                return problem
        clean = (*(_entries(dnsbl.test_clean, family) or _CLEAN[family]), *_impossible(family))
        answers = await asyncio.gather(*[ask(f"{_labels(entry)}.{zone}") for entry in clean])
        for entry, found in zip(clean, answers, strict=True):
            if found:
                meaning = meaning_of(dnsbl, found)
                if meaning.refused:
                    return Problem(meaning.reason, found)
                return Problem(f"it answers {', '.join(found)} also for {entry}, which cannot be listed", found)
    except NoAnswer as no_answer:
        return Problem(f"the list does not answer its test entries: {no_answer}")
    return None


async def _dead(dnsbl: Dnsbl, entries: tuple[str, ...], zone: str, ask: Ask) -> Problem | None:
    for entry in entries:
        found = await ask(f"{_labels(entry)}.{zone}")
        if is_listing(dnsbl, found):
            return None
        if found:
            return Problem(meaning_of(dnsbl, found).reason, found)
    return Problem(f"its test entry {' or '.join(entries)} is not listed: the list is dead, or does not know us")


def _impossible(family: str) -> tuple[str, ...]:
    """Entries that nobody can have made: only a zone that answers to everything has them."""
    if family == "domain":
        return (f"{_nonsense()}.invalid",)
    # From networks that nothing comes from: reserved (RFC 1112 4), to be discarded (RFC 6666).
    if family == "ip4":
        return (_nonsense(), str(ipaddress.IPv4Address((240 << 24) + secrets.randbits(24))))
    return (_nonsense(), str(ipaddress.IPv6Address((0x100 << 112) + secrets.randbits(64))))


def _labels(entry: str) -> str:
    """An entry as it stands in front of the zone."""
    try:
        return reversed_name(entry)
    except ValueError:
        return entry.strip(".")


def _entries(own: tuple[str, ...], family: str) -> tuple[str, ...]:
    """Those of the list's own test entries that are about this family."""
    return tuple(entry for entry in own if family == "domain" or (":" in entry) == (family == "ip6"))


def _nonsense() -> str:
    return secrets.token_hex(20)
