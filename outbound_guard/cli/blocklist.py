"""`blocklist check|show|identity`: own addresses and domains, and what the world's lists say of them."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room, configuration, note
from outbound_guard.cli.terminal import harmless, print_fields, print_json, print_table, when

if TYPE_CHECKING:
    from outbound_guard.blocklist.identity import Identity
    from outbound_guard.blocklist.listing import Listing
    from outbound_guard.blocklist.lists import Lists
    from outbound_guard.config import Config
    from outbound_guard.desk.addresses.times import ListingTime

_MARKS = {"listed": "X", "clean": ".", "unknown": "?"}
_LONG = 30.0
"""Seconds from which on it is said how long a check takes."""
_ORDER = {"listed": 0, "unknown": 1, "clean": 2}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    blocklist = commands.add_parser("blocklist", help="own addresses and domains on blocklists")
    acts = blocklist.add_subparsers(title="commands", metavar="COMMAND", required=True)

    check = acts.add_parser("check", parents=[common], help="ask the lists now; nothing is remembered")
    check.add_argument(
        "subjects", nargs="*", metavar="IP|NETWORK|DOMAIN", help="what to ask about (default: all that is ours)"
    )
    check.add_argument("--list", action="append", default=[], metavar="ZONE", dest="zones", help="only this list")
    check.add_argument("--all", action="store_true", help="show also what is not listed")
    check.set_defaults(run=_check, parser=check)

    show = acts.add_parser("show", parents=[common], help="what is known, as a table of addresses by lists")
    show.add_argument("subject", nargs="?", metavar="IP|DOMAIN", help="everything about one")
    show.add_argument("--history", action="store_true", help="what has changed, newest first")
    show.add_argument("--limit", type=int, default=100, metavar="N", help="lines of history (default 100)")
    show.set_defaults(run=_show, parser=show)

    identity = acts.add_parser("identity", parents=[common], help="reverse DNS, HELO name and SPF of own addresses")
    identity.add_argument("subjects", nargs="*", metavar="IP", help="addresses (default: all that are ours)")
    identity.set_defaults(run=_identity, parser=identity)


def _check(arguments: argparse.Namespace) -> int:
    from outbound_guard.blocklist.lists import lists_of
    from outbound_guard.desk.errors import DeskError

    config = configuration(arguments)
    lists = lists_of(config)
    if arguments.zones:
        import msgspec

        wanted = {zone.rstrip(".").lower() for zone in arguments.zones}
        chosen = tuple(dnsbl for dnsbl in lists.lists if dnsbl.label in wanted)
        if unknown := wanted - {dnsbl.label for dnsbl in chosen}:
            raise DeskError(f"no list that is asked has the zone {min(unknown)}")
        lists = msgspec.structs.replace(lists, lists=chosen)
    subjects = _meant(arguments, config, everywhere=not lists.packaged)
    found = asyncio.run(_ask(config, lists, subjects))
    by_subject: dict[str, dict[str, Listing]] = {subject: {} for subject in subjects}
    for listing in sorted(found, key=lambda listing: listing.zone):
        by_subject[listing.subject][listing.zone] = listing
    if arguments.json:
        print_json({s: {zone: _plain(listing) for zone, listing in of.items()} for s, of in by_subject.items()})
        return 0
    silent = _silent(found)
    rows = [(f"all {number}", zone, "unknown", "", reason) for zone, (number, reason) in sorted(silent.items())]
    rows += [
        (listing.subject, listing.zone, listing.state, ", ".join(listing.codes), listing.reason)
        for of in by_subject.values()
        for listing in sorted(of.values(), key=lambda listing: _ORDER[listing.state])
        if (arguments.all or listing.state != "clean") and listing.zone not in silent
    ]
    if rows:
        print_table(("address or domain", "list", "state", "code", "reason"), rows)
    states = [listing.state for listing in found]
    print(
        f"{len(subjects)} asked about, {len(lists.lists)} lists: {states.count('listed')} listed, "
        f"{states.count('clean')} clean, {states.count('unknown')} unknown"
    )
    return 0


def _silent(found: list[Listing]) -> dict[str, tuple[int, str]]:
    """Lists that said nothing that counts of several subjects: of how many, and the first reason."""
    by_zone: dict[str, list[Listing]] = {}
    for listing in found:
        by_zone.setdefault(listing.zone, []).append(listing)
    return {
        zone: (len(of), of[0].reason)
        for zone, of in by_zone.items()
        if len(of) > 1 and all(listing.state == "unknown" for listing in of)
    }


async def _ask(config: Config, lists: Lists, subjects: tuple[str, ...]) -> list[Listing]:
    from outbound_guard.blocklist.asking import Asking
    from outbound_guard.clock import SystemClock
    from outbound_guard.dns import Questions

    settings = config.blocklist
    asking = Asking(
        lists,
        Questions(settings.resolvers or config.dns.resolvers),
        SystemClock(),
        per_second=settings.per_second,
        per_second_per_list=settings.per_second_per_list,
    )
    if (seconds := asking.seconds_for(subjects)) > _LONG:
        note(f"this takes some {seconds:.0f} s at the pace of the configuration")
    return await asking.answers(subjects)


def _plain(listing: Listing) -> dict[str, str]:
    return {"state": listing.state, "code": ", ".join(listing.codes), "reason": listing.reason}


def _meant(arguments: argparse.Namespace, config: Config, *, everywhere: bool) -> tuple[str, ...]:
    """The subjects that are named, or all that is ours."""
    from outbound_guard.blocklist.own import expanded, own_subjects
    from outbound_guard.desk.errors import DeskError

    if arguments.subjects:
        try:
            return expanded(arguments.subjects)
        except ValueError as error:
            arguments.parser.error(str(error))
    subjects = own_subjects(config, everywhere=everywhere)
    if not subjects:
        raise DeskError(
            "nothing of ours is known: name addresses or domains here, or in [blocklist] or source_addresses"
        )
    return subjects


def _show(arguments: argparse.Namespace) -> int:
    import msgspec

    from outbound_guard.blocklist import findings
    from outbound_guard.blocklist.own import customers_of, subject_of
    from outbound_guard.desk.addresses.matrix import listed_times
    from outbound_guard.ledger import listing_queries

    config = configuration(arguments)
    customers = customers_of(config)
    subject = ""
    if arguments.subject:
        try:
            subject = subject_of(arguments.subject)
        except ValueError as error:
            arguments.parser.error(str(error))
    with Room(arguments).ledger() as ledger:
        rows = listing_queries.listings(ledger, subjects=[subject] if subject else ())
        history = listing_queries.history_of(ledger, subject, arguments.limit)
        addresses = listing_queries.own_addresses(ledger)
        times = listed_times(ledger, subject=subject) if subject else []
    found = findings.load(config.data_dir).found.get(subject)
    addresses = [row for row in addresses if not subject or row["address"] == subject]
    if arguments.json:
        print_json(
            {
                "listings": [
                    row | {"codes": row["codes"].split(), "account": customers.get(row["subject"], "")} for row in rows
                ],
                "addresses": addresses,
                "history": [row | {"codes": row["codes"].split()} for row in history],
            }
            | ({"times": msgspec.to_builtins(times), "identity": msgspec.to_builtins(found)} if subject else {})
        )
        return 0
    if arguments.history:
        _print_history(history)
        return 0
    if not rows:
        print("Nothing is known yet." if not subject else f"Nothing is known of {subject}.")
        return 0
    if subject:
        print_fields([("account", customers.get(subject, ""))])
        print_fields([("a receiver could object", text) for text in (found.identity.problems if found else ())])
        _print_one(rows, addresses, times)
    else:
        _print_matrix(rows, addresses, customers)
    return 0


def _print_matrix(rows: list[dict[str, Any]], addresses: list[dict[str, Any]], customers: dict[str, str]) -> None:
    """Addresses down, lists across by number, the lists with something to say first."""
    zones = sorted({row["zone"] for row in rows})
    interesting = {row["zone"] for row in rows if row["state"] != "clean"}
    zones.sort(key=lambda zone: (zone not in interesting, zone))
    states = {(row["subject"], row["zone"]): row for row in rows}
    resting = {row["address"]: row["state"] for row in addresses if row["state"] != "in_use"}
    for number, zone in enumerate(zones, 1):
        of = [row["state"] for row in rows if row["zone"] == zone]
        figures = ", ".join(f"{of.count(state)} {state}" for state in _ORDER if state in of)
        print(f"{number:>3}  {zone}: {figures}")
    print()
    lines = []
    for subject in dict.fromkeys(row["subject"] for row in rows):
        cells = [states.get((subject, zone)) for zone in zones]
        worst = min(_ORDER[cell["state"]] for cell in cells if cell)
        marks = ["" if cell is None else _mark(cell) for cell in cells]
        whose = resting.get(subject, "") or customers.get(subject, "")
        lines.append((worst, (subject, whose, *marks)))
    lines.sort(key=lambda line: line[0])
    numbers = map(str, range(1, len(zones) + 1))
    print_table(("address or domain", "pool or account", *numbers), [line for _, line in lines])
    print()
    print("X listed   x listed when last known   . clean   ? unknown   empty: not asked about")


def _mark(row: dict[str, Any]) -> str:
    return "x" if row["state"] == "unknown" and row["known"] == "listed" else _MARKS[row["state"]]


def _print_one(rows: list[dict[str, Any]], addresses: list[dict[str, Any]], times: list[ListingTime]) -> None:
    for row in addresses:
        print_fields([("pool", row["pool"]), ("state", f"{row['state']} since {when(row['since'])}"), ("", "")])
        print_fields([("reason", row["reason"])])
    rows = sorted(rows, key=lambda row: (_ORDER[row["state"]], row["zone"]))
    print_table(
        ("list", "state", "code", "first seen", "last seen", "reason"),
        [(r["zone"], r["state"], r["codes"], when(r["first_seen"]), when(r["last_seen"]), r["reason"]) for r in rows],
    )
    if times:
        print()
        print_table(
            ("listed by", "from", "to", "code", "reason"),
            [(t.zone, when(t.since), when(t.until) or "now", ", ".join(t.codes), t.reason) for t in times],
        )


def _print_history(history: list[dict[str, Any]]) -> None:
    if not history:
        print("Nothing has changed.")
        return
    print_table(
        ("time", "address or domain", "list", "state", "code", "reason"),
        [(when(r["time"]), r["subject"], r["zone"], r["state"], r["codes"], r["reason"]) for r in history],
    )


def _identity(arguments: argparse.Namespace) -> int:
    import socket

    import msgspec

    from outbound_guard.blocklist.identity import identities
    from outbound_guard.blocklist.own import customers_of, family_of, greetings_of, subject_of
    from outbound_guard.desk.errors import DeskError
    from outbound_guard.dns import Questions

    config = configuration(arguments)
    addresses = [s for s in _meant(arguments, config, everywhere=True) if family_of(s) != "domain"]
    if not addresses:
        raise DeskError("no address is named, here, in [blocklist] or in source_addresses")
    domains = [subject_of(domain) for domain in config.blocklist.domains]
    helo = (config.server.hostname or socket.getfqdn()).rstrip(".").lower()
    customers = customers_of(config)
    of_account: dict[str, list[str]] = {}
    for address in addresses:
        of_account.setdefault(customers.get(address, ""), []).append(address)

    async def ask() -> list[Identity]:
        questions = Questions(config.dns.resolvers)
        found = await identities(questions, of_account.pop("", []), domains, helo, greetings_of(config))
        for account, theirs in of_account.items():
            # They greet with a name of their own, for domains of their own.
            names = [name for name, of in customers.items() if of == account and family_of(name) == "domain"]
            found += await identities(questions, theirs, names, "")
        return found

    found = asyncio.run(ask())
    if arguments.json:
        print_json([msgspec.to_builtins(identity) for identity in found])
        return 0
    rows = []
    for identity in found:
        said = [*identity.problems, *(f"not known: {text}" for text in identity.unknown)] or ["in order"]
        rows += [(identity.address if first == 0 else "", text) for first, text in enumerate(said)]
    for address, text in rows:
        print(f"{address:<40}{harmless(text)}")
    return 0
