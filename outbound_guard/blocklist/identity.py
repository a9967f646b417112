"""What receivers look at besides lists: reverse DNS, the name we greet with, and SPF of our domains.

A sending address needs a reverse name that leads back to it (no RFC says so, but large receivers refuse mail without),
the greeting must be a name that has an address, and each domain's SPF record must name every address its mail leaves
from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from outbound_guard.blocklist.spf import check_host
from outbound_guard.dns import NoAnswer, Questions, reversed_name

_AT_ONCE = 20


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What one address looks like to a receiver."""

    address: str
    names: tuple[str, ...]
    """Its reverse names (PTR)."""
    confirmed: bool
    """True if one of them leads back to it."""
    helo: str
    """The name we greet with."""
    helo_leads_here: bool
    """True if that name has this address. Good to have; with several addresses and one name it cannot be so for all."""
    spf: dict[str, str]
    """Result by domain: pass, fail, softfail, neutral, none, permerror, temperror."""
    problems: tuple[str, ...]
    """What a receiver could object to, as sentences; empty: nothing."""
    unknown: tuple[str, ...]
    """What could not be found out, since nobody answered."""


async def identities(
    questions: Questions,
    addresses: Sequence[str],
    domains: Sequence[str],
    helo: str,
    named: Mapping[str, str] | None = None,
) -> list[Identity]:
    """The identity of each address, for mail of these domains and of the greeting's own name.

    `helo` is empty for addresses that others greet from; `named` are those that greet with a name of their own.
    """
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(address: str) -> Identity:
        async with free:
            own = named.get(address, "") if named else ""
            greeting = own or helo
            names = list(dict.fromkeys([*domains, greeting] if "." in greeting else domains))
            return await _identity(questions, address, names, greeting, own=bool(own))

    return list(await asyncio.gather(*[one(address) for address in addresses]))


async def _identity(
    questions: Questions, address: str, domains: Sequence[str], helo: str, *, own: bool = False
) -> Identity:
    problems: list[str] = []
    unknown: list[str] = []
    kind = "AAAA" if ":" in address else "A"
    names: tuple[str, ...] = ()
    confirmed = helo_leads_here = False
    try:
        zone = "ip6.arpa" if kind == "AAAA" else "in-addr.arpa"
        found = await questions.ask(f"{reversed_name(address)}.{zone}", "PTR")
        names = tuple(name.rstrip(".").lower() for name in found)
        # More than a few names are more than any receiver looks at.
        forward = [await questions.ask(name, kind) for name in names[:10]]
        confirmed = any(address in found for found in forward)
        if not names:
            problems.append("it has no reverse name (PTR)")
        elif not confirmed:
            problems.append(f"its reverse name {names[0]} does not lead back to it")
        if own and names and helo not in names:
            # Where each address has its own name, nothing speaks against the two being the same.
            problems.append(f"it greets as {helo}, and its reverse name is {names[0]}")
    except NoAnswer as no_answer:
        unknown.append(f"reverse name: {no_answer}")
    try:
        if helo and "." not in helo:
            problems.append(f"we greet as {helo!r}, which is no full name (RFC 5321 2.3.5)")
        elif helo:
            leads_to = [*await questions.ask(helo, "A"), *await questions.ask(helo, "AAAA")]
            helo_leads_here = address in leads_to
            if not leads_to:
                problems.append(f"the name we greet with, {helo}, has no address (RFC 5321 2.3.5)")
    except NoAnswer as no_answer:
        unknown.append(f"{helo}: {no_answer}")
    spf = {}
    for domain in domains:
        spf[domain], why = await check_host(questions.ask, address, domain, helo)
        if spf[domain] == "temperror":
            unknown.append(f"SPF of {domain}: {why}")
        elif spf[domain] == "none" and domain == helo:
            continue  # A record for the greeting's name is good to have (RFC 7208 2.3), and few have one.
        elif spf[domain] != "pass":
            problems.append(f"SPF of {domain} says {spf[domain]} ({why})")
    return Identity(
        address=address,
        names=names,
        confirmed=confirmed,
        helo=helo,
        helo_leads_here=helo_leads_here,
        spf=spf,
        problems=tuple(problems),
        unknown=tuple(unknown),
    )
