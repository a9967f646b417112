"""The console process's part that watches own addresses and domains on blocklists."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from outbound_guard.app.parts import Parts
from outbound_guard.blocklist import findings
from outbound_guard.blocklist.asking import Asking
from outbound_guard.blocklist.identity import identities
from outbound_guard.blocklist.lists import lists_of
from outbound_guard.blocklist.own import customers_of, family_of, greetings_of, own_subjects, pools_of
from outbound_guard.blocklist.rule import IN_USE, KEPT, RESTING
from outbound_guard.blocklist.watch import Watch
from outbound_guard.dns import Questions
from outbound_guard.ledger import listing_queries
from outbound_guard.ledger.database import Ledger, LedgerError

_log = logging.getLogger(__name__)

_LOOK = 2.0
"""Seconds between two looks at what next hops have refused."""
_MEASURE = 5.0
"""Seconds between two looks at what is known, for metrics and for addresses whose rest is over."""
_IDENTITY = 3600.0
"""Seconds between two looks at reverse DNS, greeting and SPF."""
_SETTLE = 1.0
"""Seconds until a ledger that cannot be used is tried again."""


def watch_addresses(parts: Parts, ledger: Ledger, ready: Callable[[], bool]) -> Watch | None:
    """Watch until the stack closes; None if there is nothing to watch. Raises ConfigError.

    `ledger` is the writer's; `ready` says whether it has its schema.
    """
    config, settings = parts.config, parts.config.blocklist
    lists, customers = lists_of(config), customers_of(config)
    subjects = own_subjects(config, everywhere=not lists.packaged)
    if not settings.interval or not subjects or not lists.lists:
        _let_none_rest(parts, ledger, ready)
        return None

    def listing_changed(row: dict[str, Any]) -> None:
        account = customers.get(row["subject"], "")
        fields = {name: row[name] for name in ("subject", "zone", "state", "codes", "reason")}
        parts.log.event("Listing", row["time"], account=account, **fields)
        if row["state"] == "listed":
            whose = f" (of {account})" if account else ""
            listed = (row["subject"], whose, row["zone"], row["codes"], row["reason"])
            _log.warning("%s%s is listed by %s (%s): %s", *listed)

    def address_changed(row: dict[str, Any]) -> None:
        parts.log.event("Address", row["since"], **{name: row[name] for name in ("pool", "address", "state", "reason")})
        text = {
            IN_USE: "address %s of pool %s is in use again%s",
            RESTING: "address %s of pool %s rests: %s",
            KEPT: "address %s of pool %s should rest and stays in use, since the pool has no other: %s",
        }[row["state"]]
        level = {IN_USE: logging.INFO, RESTING: logging.WARNING, KEPT: logging.ERROR}[row["state"]]
        _log.log(level, text, row["address"], row["pool"], row["reason"] if row["state"] != IN_USE else "")

    watch = Watch(
        Asking(
            lists,
            Questions(settings.resolvers or config.dns.resolvers),
            parts.clock,
            per_second=settings.per_second,
            per_second_per_list=settings.per_second_per_list,
        ),
        subjects,
        pools_of(config),
        ledger,
        parts.clock,
        settings,
        count=parts.metrics.count,
        listing_changed=listing_changed,
        address_changed=address_changed,
    )

    if (seconds := watch.asking.seconds_for(watch.subjects)) > settings.interval:
        text = "a round of blocklist questions takes some %.0f s at this pace, longer than its interval of %g s"
        _log.warning(text, seconds, settings.interval)

    async def refusals() -> None:
        if ready() and (subjects := await watch.refused()):
            _log.info("next hops refuse our address; blocklists are asked about %s", ", ".join(subjects))
            await watch.recheck(subjects)

    async def measure() -> None:
        if not ready():
            return
        await watch.keep_waiting()
        await watch.react()
        known = await asyncio.to_thread(listing_queries.counts, ledger)
        addresses = await asyncio.to_thread(listing_queries.own_addresses, ledger)
        states = [(row["pool"], row["state"]) for row in addresses]
        for dnsbl in lists.lists:
            for state in ("listed", "clean", "unknown"):
                parts.metrics.gauge("blocklist_subjects", known.get((dnsbl.label, state), 0), dnsbl.label, state)
        for pool in pools_of(config):
            for state in (IN_USE, RESTING, KEPT):
                parts.metrics.gauge("own_addresses", states.count((pool, state)), pool, state)
        if watch.ended:
            parts.metrics.gauge("blocklist_round_age", parts.clock.now() - watch.ended)

    helo = parts.hostname.rstrip(".").lower()
    known = findings.load(config.data_dir)

    async def identity(only: Sequence[str] = ()) -> None:
        """Look at the addresses of the pools, or at these of them, and keep what was found."""
        nonlocal known
        addresses = list(dict.fromkeys(address for pool in pools_of(config).values() for address in pool))
        watched = [address for address in addresses if address in watch.subjects]
        looked_at = [address for address in watched if not only or address in only]
        domains = [name for name in watch.subjects if family_of(name) == "domain" and name not in customers]
        found = await identities(Questions(config.dns.resolvers), looked_at, domains, helo, greetings_of(config))
        known = findings.merged(known, found, parts.clock.now(), only=dict.fromkeys(watched))
        problems = [one.identity.problems for one in known.found.values()]
        parts.metrics.gauge("own_addresses_objectionable", sum(map(bool, problems)))
        for one in found:
            if one.problems and told.get(one.address) != one.problems:
                _log.warning("a receiver could object to address %s: %s", one.address, "; ".join(one.problems))
            told[one.address] = one.problems
        try:
            await asyncio.to_thread(findings.keep, config.data_dir, known)
        except OSError as error:
            _log.error("what receivers could object to cannot be kept for now: %s", error)

    told: dict[str, tuple[str, ...]] = {}
    """What the log was told since this process began."""

    async def look_now(subjects: Sequence[str]) -> None:
        await watch.recheck(subjects)
        await identity(subjects)

    async def on_request() -> None:
        if ready():
            await watch.wanted.serve(look_now)

    parts.every(_IDENTITY, identity)
    parts.every(_SETTLE, on_request)
    parts.every(_SETTLE, lambda: next_round(watch, ready))
    parts.every(_LOOK, refusals)
    parts.every(_MEASURE, measure)
    return watch


async def next_round(watch: Watch, ready: Callable[[], bool]) -> None:
    """Ask the lists when it is time again, if it is still for this host to do then."""
    try:
        if not ready():
            return
        await asyncio.sleep(await watch.seconds_until_due())
        # Another host may have begun to lead, and asks.
        if ready():
            await watch.round()
    except LedgerError as error:
        _log.error("own addresses cannot be watched for now: %s", error)


def _let_none_rest(parts: Parts, ledger: Ledger, ready: Callable[[], bool]) -> None:
    """Nobody watches any more, so nobody would let an address that rests return."""

    async def once() -> None:
        while True:
            try:
                if ready():
                    await asyncio.to_thread(listing_queries.forget_own_addresses, ledger)
                    return
            except LedgerError as error:
                _log.error("addresses that rest cannot be let return for now: %s", error)
            await asyncio.sleep(_SETTLE)

    parts.background(once())
