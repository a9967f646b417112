""" "We are blocked" with what is known in this installation: our addresses, what lists say, open cases, accounts.

Nothing of what is pasted is kept: it goes through here, and what comes back is shown.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from outbound_guard.accounts.directory import Directory
from outbound_guard.blocklist import channels
from outbound_guard.blocklist.asking import Asking
from outbound_guard.blocklist.lists import lists_of
from outbound_guard.blocklist.own import customers_of, own_subjects
from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.desk.blocked.finding import Finding, Row, as_json, blocked
from outbound_guard.desk.redaction.redact import redact
from outbound_guard.dns import Questions
from outbound_guard.ledger import address_queries, listing_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.mail import domain_of

Ask = Literal["needed", "always", "never"]
"""Whether lists are asked now: if nothing is known and resolvers are configured; whatever is known; not at all."""

SECONDS = 20.0
"""The longest that lists are waited for where somebody waits for the page."""
SHOWN = 60_000
"""Characters of a paste whose redacted copy is given back."""
_SENDERS = 20
"""Addresses of a paste that may be the customer's."""

_SENDER = re.compile(
    r"(?im)^[ \t>]*(?:return-path|from|reply-to|sender|x-failed-sender):[^\n]{0,200}?<?([\w.+=-]{1,64}@[\w.-]{3,253})>?"
    r"|\b(?:from|F)=<([^>\s@]{1,64}@[^>\s]{1,253})>|<= ([^\s<>@]{1,64}@[\w.-]{3,253})"
)
_MACHINE = re.compile(r"(?i)(?:mailer-daemon|postmaster|double-bounce|no-?reply)@")


async def finding(
    text: str,
    config: Config | None,
    clock: Clock,
    *,
    known: Callable[[str], Sequence[Row]] = lambda subject: (),
    ask: Ask = "needed",
    asking: Asking | None = None,
    seconds: float = 0.0,
) -> Finding:
    """What is wrong. `known` tells what lists are known to say of an address or domain; it is called in a thread.

    `asking` asks the lists, so that its pace is kept; without it they are asked by the configuration. They are waited
    for `seconds`; 0: until the last has answered. Raises ConfigError, and what `known` raises.
    """
    if config is None:
        return await asyncio.to_thread(blocked, text, channels.packaged())
    customers = await asyncio.to_thread(customers_of, config)
    own = tuple(subject for subject in own_subjects(config) if subject not in customers)
    found = await asyncio.to_thread(blocked, text, channels.channels_of(config), own=own, known=known)
    resolvers = config.blocklist.resolvers or config.dns.resolvers
    if not found.address or "@" in found.address or ask == "never":
        return found
    if ask == "needed" and (found.listings or not resolvers):
        return found
    asking = asking or Asking(
        lists_of(config),
        Questions(resolvers),
        clock,
        per_second=config.blocklist.per_second,
        per_second_per_list=config.blocklist.per_second_per_list,
    )
    try:
        async with asyncio.timeout(seconds or None):
            rows = [msgspec.to_builtins(listing) for listing in await asking.answers((found.address,))]
    except TimeoutError:
        return found
    if not rows:
        return found
    return await asyncio.to_thread(blocked, text, channels.channels_of(config), own=own, known=lambda subject: rows)


async def told(
    text: str,
    config: Config,
    ledger: Ledger,
    clock: Clock,
    *,
    ask: Ask = "needed",
    asking: Asking | None = None,
) -> dict[str, Any]:
    """The finding for programs (desk.blocked.as_json) with `step`, `account`, `cases` and `redacted`.

    `step`: case (there are open ones about the address: `cases`, id and stage) | open_case | account | none: what to
    do here. `open_case` then holds what to open it with. `account`: the customer whose mail it was, as far as the paste
    and our records tell; empty if unknown. `redacted`: the paste without personal contact data.
    Raises LedgerError, ConfigError.
    """

    def known(subject: str) -> Sequence[Row]:
        return listing_queries.listings(ledger, subjects=[subject])

    found = await finding(text, config, clock, known=known, ask=ask, asking=asking, seconds=SECONDS)
    address = found.address if found.address and "@" not in found.address else ""
    cases = await asyncio.to_thread(address_queries.open_cases, ledger, [address]) if address else {}
    account = await _account(text, found, config, ledger, clock) if found.side in ("customer", "recipient") else ""
    open_case = None
    if found.side == "provider":
        step = "case" if cases else "open_case"
        open_case = {"subject": address, "list": _zone(found), "reason": found.answer}
    else:
        step = "account" if account and found.side == "customer" else "none"
    return as_json(found) | {
        "step": step,
        "cases": [{"id": id_, "stage": stage} for id_, stage in cases.get(address, ())],
        "open_case": open_case,
        "account": account,
        "redacted": await asyncio.to_thread(redact, text[:SHOWN]),
    }


def _zone(found: Finding) -> str:
    """The list as a case names it; empty if only its name is known."""
    return found.list if found.list and "." in found.list and " " not in found.list else ""


async def _account(text: str, found: Finding, config: Config, ledger: Ledger, clock: Clock) -> str:
    """Whose mail it was: the customer of the address, else of a sender that the paste names."""
    customers = await asyncio.to_thread(customers_of, config)
    if found.address and (account := customers.get(found.address)):
        return account
    senders = list(_senders_in(text))
    if not senders:
        return ""
    directory = Directory(ledger, clock)
    await directory.refresh()
    for sender in senders:
        if account := directory.account_of(sender):
            return account
    return await asyncio.to_thread(address_queries.account_of, ledger, senders, [domain_of(s) for s in senders])


def _senders_in(text: str) -> Iterator[str]:
    found: dict[str, None] = {}
    for match in _SENDER.finditer(text[:1_000_000]):
        address = next(filter(None, match.groups()), "").lower()
        if address and not _MACHINE.match(address) and len(found) < _SENDERS:
            found[address] = None
    return iter(found)
