"""The rows and columns of the matrix of our addresses by lists: what is known of each subject, list and pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from outbound_guard.blocklist import findings
from outbound_guard.blocklist.findings import Found
from outbound_guard.blocklist.lists import Dnsbl, lists_of
from outbound_guard.blocklist.own import customers_of, family_of, own_subjects, pools_of
from outbound_guard.blocklist.rule import IN_USE, KEPT, RESTING
from outbound_guard.config import Config
from outbound_guard.ledger import address_queries as queries
from outbound_guard.ledger import listing_queries
from outbound_guard.ledger.address_queries import Word
from outbound_guard.ledger.database import Ledger

STATES = ("listed", "was_listed", "resting", "objectionable", "unknown", "not_asked", "clean")
"""What is said of a subject, the worst first. `was_listed`: when last known. `resting`: or kept in use although it
should rest. `objectionable`: a receiver could object to its name or SPF. `unknown`: by a list that answers others."""


class Place(msgspec.Struct, frozen=True):
    """An address in a pool."""

    pool: str
    state: str
    """in_use | resting | kept; empty: not decided yet."""
    since: float
    reason: str


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What one list says of one subject. Times are unix seconds."""

    zone: str
    state: str
    """listed | was_listed (nothing is known now) | unknown | clean"""
    codes: tuple[str, ...]
    reason: str
    scope: str
    """address | range | network"""
    weight: float
    since: float
    """Since when it is listed, or clean; 0: not known."""
    checked: float


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """An address or domain of ours, or of a customer who sends by himself."""

    subject: str
    family: str
    """ip4 | ip6 | domain"""
    state: str
    """The worst of STATES that is true of it."""
    account: str
    """The customer whose it is; empty: ours."""
    pools: tuple[Place, ...]
    listed: int
    was_listed: int
    unknown: int
    clean: int
    """Numbers of lists."""
    weight: float
    """Of the lists that have it, together."""
    problems: tuple[str, ...]
    """What a receiver could object to: reverse name, greeting, SPF."""
    problems_since: float
    checked: float = 0.0
    """When it was asked about last; 0: never."""
    cells: tuple[Cell, ...] = ()
    cases: tuple[tuple[str, str], ...] = ()
    """Open cases about it: id and stage."""


class ListSaid(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says of all subjects together."""

    zone: str
    name: str
    weight: float
    scope: str
    listed: int
    unknown: int
    clean: int
    silent: bool
    """It says nothing that counts of anybody: it is dead, refuses us, or cannot be reached."""
    reason: str
    """Why, if it is silent."""
    lookup: str
    """Page that says why something is listed; `{subject}` stands for it."""
    asked: bool
    """False: it is not asked any more, and this is what it said last."""
    checked: float = 0.0
    """When it was asked last, where that was looked up."""


class PoolSaid(msgspec.Struct, frozen=True):
    """How many addresses of a pool are in which state."""

    pool: str
    in_use: int
    resting: int
    kept: int
    listed: int


class Known(msgspec.Struct, frozen=True):
    """What is known of all subjects, read once."""

    subjects: list[Subject]
    """Those that are watched, and what lists were asked about before; without their cells."""
    lists: list[ListSaid]
    """Those that are asked, or have said something: with listings first, then those that say nothing."""
    words: list[Word]


def known(ledger: Ledger, config: Config) -> Known:
    """What is known now. Raises LedgerError, ConfigError."""
    words = queries.words(ledger)
    by_subject, by_zone = queries.numbers_asked(ledger)
    lists = _lists_said(config, words, by_zone)
    silent = {one.zone for one in lists if one.silent}
    of: dict[str, list[Word]] = {}
    for word in words:
        of.setdefault(word.subject, []).append(word)
    customers, places = customers_of(config), _places(ledger, config)
    found = findings.load(config.data_dir).found
    subjects = [
        subject_known(
            name,
            of.get(name, ()),
            by_subject.get(name, 0),
            silent=silent,
            account=customers.get(name, ""),
            places=places.get(name, ()),
            found=found.get(name),
        )
        for name in dict.fromkeys((*own_subjects(config), *by_subject))
    ]
    return Known(subjects, lists, words)


def subject_known(
    name: str,
    words: Sequence[Word],
    asked: int,
    *,
    silent: Collection[str] = (),
    account: str = "",
    places: Sequence[Place] = (),
    found: Found | None = None,
) -> Subject:
    """One subject, without its cells: what lists say of it, `asked` lists in all.

    What the lists `silent` do not know is not counted: it says nothing of a subject.
    """
    listed = sum(word.state == "listed" for word in words)
    was_listed = sum(word.state != "listed" and word.known == "listed" for word in words)
    unknown = sum(word.known != "listed" and word.zone not in silent for word in words)
    problems = found.identity.problems if found else ()
    true_of = {
        "listed": listed,
        "was_listed": was_listed,
        "resting": any(place.state in (RESTING, KEPT) for place in places),
        "objectionable": problems,
        "unknown": unknown,
        "not_asked": not asked,
        "clean": True,
    }
    return Subject(
        subject=name,
        family=family_of(name),
        state=next(state for state in STATES if true_of[state]),
        account=account,
        pools=tuple(places),
        listed=listed,
        was_listed=was_listed,
        unknown=unknown,
        clean=asked - len(words),
        weight=sum(word.weight for word in words if word.known == "listed"),
        problems=problems,
        problems_since=found.since if found and problems else 0.0,
    )


def with_cells(ledger: Ledger, shown: Sequence[Subject], *, clean: bool = False) -> list[Subject]:
    """These with what each list says of them (`clean`: also that), and with their open cases. Raises LedgerError."""
    if not shown:
        return []
    names = [one.subject for one in shown]
    cells: dict[str, list[Cell]] = {}
    for row in queries.cells(ledger, names, clean=clean):
        cells.setdefault(row["subject"], []).append(_cell(row))
    checked, cases = queries.checked(ledger, names), queries.open_cases(ledger, names)
    return [
        msgspec.structs.replace(
            one,
            cells=tuple(cells.get(one.subject, ())),
            cases=tuple(cases.get(one.subject, ())),
            checked=checked.get(one.subject, 0.0),
        )
        for one in shown
    ]


def pools_said(every: Sequence[Subject]) -> tuple[PoolSaid, ...]:
    """The addresses of each pool, counted."""
    places = [(place, one) for one in every for place in one.pools]
    counted = Counter((place.pool, place.state or IN_USE) for place, _ in places)
    listed = Counter(place.pool for place, one in places if one.listed or one.was_listed)
    return tuple(
        PoolSaid(pool, counted[pool, IN_USE], counted[pool, RESTING], counted[pool, KEPT], listed[pool])
        for pool in dict.fromkeys(place.pool for place, _ in places)
    )


def _places(ledger: Ledger, config: Config) -> dict[str, list[Place]]:
    decided = {(row["pool"], row["address"]): row for row in listing_queries.own_addresses(ledger)}
    places: dict[str, list[Place]] = {}
    for pool, addresses in pools_of(config).items():
        for address in addresses:
            row = decided.get((pool, address), {"state": "", "since": 0.0, "reason": ""})
            places.setdefault(address, []).append(Place(pool, row["state"], row["since"], row["reason"]))
    return places


def _cell(row: dict[str, Any]) -> Cell:
    was = row["state"] == "unknown" and row["known"] == "listed"
    return Cell(
        zone=row["zone"],
        state="was_listed" if was else row["state"],
        codes=tuple(row["codes"].split()),
        reason=row["reason"],
        scope=row["scope"],
        weight=row["weight"],
        since=row["first_seen"],
        checked=row["checked"],
    )


def _lists_said(config: Config, words: Sequence[Word], numbers: Mapping[str, int]) -> list[ListSaid]:
    asked = {dnsbl.label: dnsbl for dnsbl in lists_of(config).lists}
    of: dict[str, list[Word]] = {}
    for word in words:
        of.setdefault(word.zone, []).append(word)
    found = [
        _list_said(zone, asked.get(zone), of.get(zone, ()), numbers.get(zone, 0))
        for zone in dict.fromkeys((*asked, *numbers))
    ]
    return sorted(found, key=lambda one: (-one.listed, not one.silent, -one.unknown, one.zone))


def _list_said(zone: str, dnsbl: Dnsbl | None, words: Sequence[Word], asked: int) -> ListSaid:
    listed = sum(word.state == "listed" for word in words)
    # Of one subject alone it cannot be told whether the list or the subject is the reason.
    silent = len(words) == asked > 1 and not listed
    return ListSaid(
        zone=zone,
        name=dnsbl.name if dnsbl else "",
        weight=dnsbl.weight if dnsbl else 0.0,
        scope=dnsbl.scope if dnsbl else "",
        listed=listed,
        unknown=len(words) - listed,
        clean=asked - len(words),
        silent=silent,
        reason=words[0].reason if silent else "",
        lookup=dnsbl.lookup if dnsbl else "",
        asked=dnsbl is not None,
    )
