"""URI blocklists: the domains that a message links to, asked for in a zone of the DNS (RFC 5782 3).

What a link leads to is harder to change than a text: a thief's run sells one shop. Honest mail links to listed domains
as well: a customer whose own site was broken into, an answer that quotes the spam it is about. So a listing is a
reason to look closer, and no proof.
"""

from __future__ import annotations

import asyncio
import ipaddress

from outbound_guard.config import Scanner
from outbound_guard.content import Message
from outbound_guard.dns import Lookup, NoAnswer
from outbound_guard.mail import Submission
from outbound_guard.scanners.opinion import Said
from outbound_guard.scanners.wire import one_line

_NAMES = 20
"""Names asked for of one message. A newsletter links to a few, a search result to hundreds."""


async def ask(scanner: Scanner, submission: Submission, message: Message, *, lookup: Lookup) -> Said | None:
    """Whether a host or registrable domain of the message's links is listed. Raises OSError without an answer."""
    names = _names(message)
    if not names:
        return None
    zone = scanner.zone.strip(".")
    answers = await asyncio.gather(*[lookup.addresses(f"{name}.{zone}") for name in names], return_exceptions=True)
    problems = []
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, BaseException):
            problems.append(answer)
            continue
        for address in answer:
            if (meaning := meaning_of(address, scanner.codes)) is not None:
                return "listed", one_line(f"{name} ({meaning or address})")
            if _refusal(address):
                raise OSError(f"the list refuses to answer us: {address}")
    for problem in problems:
        if not isinstance(problem, NoAnswer):
            raise problem
    if len(problems) == len(names):
        raise OSError(str(problems[0]))
    return "clean", f"{len(names)} names, none listed"


def meaning_of(address: str, codes: dict[str, str]) -> str | None:
    """What an address in the answer means; None if it is no listing.

    Only 127/8 is an answer of a list (RFC 5782 2.1): another address comes from a resolver that invents some, or from a
    zone whose domain was sold. With `codes`, what is not named there does not count.
    """
    number = _number(address)
    if number >> 24 != 127 or _refusal(address):
        return None
    if not codes:
        return ""
    meanings = [meaning for code, meaning in codes.items() if _matches(number, code)]
    return ", ".join(dict.fromkeys(meanings)) if meanings else None


def _refusal(address: str) -> bool:
    """127.255.255.x: asked wrongly, through a public resolver, or too often. 127.0.0.1 says the same elsewhere."""
    return address.startswith("127.255.255.") or address == "127.0.0.1"


def _matches(number: int, code: str) -> bool:
    if code.startswith("&"):
        return bool(number & 0xFF & int(code[1:]))
    network = ipaddress.IPv4Network(code)
    return number & int(network.netmask) == int(network.network_address)


def _number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def _names(message: Message) -> list[str]:
    """Registrable domains first, then hosts, at most so many; addresses are in no list of domains."""
    names = []
    for name in dict.fromkeys((*message.domains, *message.hosts)):
        try:
            text = name.encode("idna").decode() if not name.isascii() else name
        except UnicodeError:
            continue  # No such name can exist.
        if "." in text and ":" not in text and not text.rpartition(".")[2].isdigit():
            names.append(text)
    return names[:_NAMES]
