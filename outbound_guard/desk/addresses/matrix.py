"""Our addresses and domains by the lists that know them: which are listed, rest, or look wrong to a receiver.

Ten pools with a hundred addresses each, asked about on forty lists, are forty thousand answers of which a dozen say
something. So rows are sorted by what they have to say, a page shows some, and of its columns those lists that say
anything of them.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Sequence

import msgspec

from outbound_guard.blocklist import findings
from outbound_guard.blocklist.findings import Found
from outbound_guard.blocklist.own import subject_of
from outbound_guard.blocklist.rule import KEPT, RESTING
from outbound_guard.blocklist.wanted import NotNowError
from outbound_guard.blocklist.watch import Watch
from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.desk.addresses.rows import (
    STATES,
    ListSaid,
    PoolSaid,
    Subject,
    known,
    pools_said,
    subject_known,
    with_cells,
)
from outbound_guard.desk.addresses.times import ListingTime, listing_times
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import address_queries as queries
from outbound_guard.ledger import listing_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit

PAGE = 50
"""Rows of a page."""


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """A page of subjects by lists."""

    rows: tuple[Subject, ...]
    total: int
    """Subjects that fit the filters."""
    counts: dict[str, int]
    """Subjects by state, whatever the filters."""
    columns: tuple[str, ...]
    """Zones that say something of these rows (`cells`), the most listings first; without those that are silent."""
    lists: tuple[ListSaid, ...]
    pools: tuple[PoolSaid, ...]
    accounts: tuple[str, ...]
    """Customers whose addresses are watched too."""
    watched: bool
    """False: nobody asks the lists (blocklist.interval is 0, or there is nothing to ask)."""
    waiting: tuple[str, ...]
    """Those that are asked about right now, on request."""
    identity_time: float
    """When names and SPF were looked at last; 0: never."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which subjects are meant; empty: all."""

    state: str = ""
    pool: str = ""
    account: str = ""
    zone: str = ""
    """Only what this list says something of."""
    text: str = ""
    """A part of the address or domain, or a network that it lies in."""


async def matrix(
    ledger: Ledger,
    config: Config,
    filters: Filters | None = None,
    *,
    limit: int = PAGE,
    offset: int = 0,
    watch: Watch | None = None,
) -> Matrix:
    """A page of the matrix, the worst rows first. Raises DeskError for filters without meaning, LedgerError."""
    return await asyncio.to_thread(_matrix, ledger, config, filters or Filters(), limit, offset, watch)


async def subject_shown(ledger: Ledger, config: Config, text: str) -> tuple[Subject, list[ListingTime], Found | None]:
    """Everything about one subject: every list's word, when it was listed, and its identity if it was looked at.

    Raises DeskError if it is no address or domain, or nothing is known of it, LedgerError.
    """
    return await asyncio.to_thread(_subject, ledger, config, text)


async def list_shown(
    ledger: Ledger, config: Config, zone: str, *, limit: int = PAGE, offset: int = 0
) -> tuple[ListSaid, list[ListingTime], int]:
    """One list: what it says of all together, what it listed when (a page), and how many times that were.

    Raises DeskError if it is none, LedgerError.
    """
    said, found = await asyncio.to_thread(_list, ledger, config, zone)
    return said, found[max(offset, 0) : max(offset, 0) + limit], len(found)


async def times(ledger: Ledger, *, limit: int = PAGE, offset: int = 0) -> tuple[list[ListingTime], int]:
    """All times of listing, those that last first, then the newest; and how many there are. Raises LedgerError."""
    found = await asyncio.to_thread(listed_times, ledger)
    return found[max(offset, 0) : max(offset, 0) + limit], len(found)


async def identities(config: Config, *, limit: int = PAGE, offset: int = 0) -> tuple[list[Found], int]:
    """What receivers see of our sending addresses, those with problems first; and how many there are."""
    found = (await asyncio.to_thread(findings.load, config.data_dir)).found.values()
    ordered = sorted(found, key=lambda one: (not one.identity.problems, not one.identity.unknown, _number(one)))
    return ordered[max(offset, 0) : max(offset, 0) + limit], len(ordered)


def recheck(watch: Watch | None, journal: Journal, clock: Clock, texts: Sequence[str], *, by: str) -> tuple[str, ...]:
    """Have lists and name servers asked about these now; those that are asked. Their answers come in a while.

    Raises DeskError, also if the same were asked about a moment ago or too many wait.
    """
    if watch is None:
        raise DeskError("own addresses are not watched: blocklist.interval is 0, or nothing is named to be watched")
    if not texts:
        raise DeskError("name the addresses or domains to ask about")
    try:
        asked = watch.wanted.fresh([subject_of(text) for text in texts])
    except (ValueError, NotNowError) as error:
        raise DeskError(str(error)) from None
    named = asked[0] if len(asked) == 1 else ""
    detail = "" if named else ", ".join(asked)[:500]
    on_disk(journal, Audit(time=clock.now(), by=by, what="addresses.recheck", subject=named, detail=detail))
    return watch.wanted.add(asked)


def _matrix(ledger: Ledger, config: Config, filters: Filters, limit: int, offset: int, watch: Watch | None) -> Matrix:
    if filters.state and filters.state not in STATES:
        raise DeskError(f"no state {filters.state!r}; there are {', '.join(STATES)}")
    of_all = known(ledger, config)
    wanted = of_all.subjects
    if filters.zone:
        of_it = {word.subject for word in of_all.words if word.zone == filters.zone}
        wanted = [one for one in wanted if one.subject in of_it]
    wanted = sorted((one for one in wanted if _fits(one, filters)), key=_rank)
    shown = wanted[max(offset, 0) : max(offset, 0) + limit]
    rows = with_cells(ledger, shown)
    silent = {one.zone for one in of_all.lists if one.silent}
    said = {cell.zone for row in rows for cell in row.cells} - silent
    heavy = Counter(cell.zone for row in rows for cell in row.cells if cell.state in ("listed", "was_listed"))
    return Matrix(
        rows=tuple(rows),
        total=len(wanted),
        counts=dict(Counter(one.state for one in of_all.subjects)),
        columns=tuple(sorted(said, key=lambda zone: (-heavy[zone], zone))),
        lists=tuple(of_all.lists),
        pools=pools_said(of_all.subjects),
        accounts=tuple(sorted({one.account for one in of_all.subjects if one.account})),
        watched=bool(watch) if watch is not None else bool(config.blocklist.interval),
        waiting=watch.wanted.waiting if watch else (),
        identity_time=findings.load(config.data_dir).time,
    )


def _fits(one: Subject, filters: Filters) -> bool:
    if filters.state and not _is(one, filters.state):
        return False
    if filters.pool and filters.pool not in {place.pool for place in one.pools}:
        return False
    if filters.account and filters.account != one.account:
        return False
    text = filters.text.strip().lower()
    if "/" in text:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return False
        return one.family != "domain" and ipaddress.ip_address(one.subject) in network
    return text in one.subject


def _is(one: Subject, state: str) -> bool:
    """Whether it is so, besides being something worse perhaps."""
    if state == "resting":
        return any(place.state in (RESTING, KEPT) for place in one.pools)
    if state == "objectionable":
        return bool(one.problems)
    return one.state == state or (state in ("listed", "was_listed", "unknown") and bool(getattr(one, state)))


def _rank(one: Subject) -> tuple[object, ...]:
    number = (9, one.subject) if one.family == "domain" else _in_order(one.subject)
    return STATES.index(one.state), -one.weight, [place.pool for place in one.pools], number


def _number(one: Found) -> tuple[int, str]:
    return _in_order(one.identity.address)


def _in_order(address: str) -> tuple[int, str]:
    """What sorts addresses as numbers."""
    ip = ipaddress.ip_address(address)
    return ip.version, ip.packed.hex()


def _subject(ledger: Ledger, config: Config, text: str) -> tuple[Subject, list[ListingTime], Found | None]:
    try:
        name = subject_of(text)
    except ValueError as error:
        raise DeskError(str(error)) from None
    one = next((one for one in known(ledger, config).subjects if one.subject == name), None)
    history = listed_times(ledger, subject=name)
    if one is None:
        if not history:
            raise DeskError(f"nothing is known of {name}: it is not watched")
        one = subject_known(name, (), 0)
    (one,) = with_cells(ledger, [one], clean=True)
    order = {"listed": 0, "was_listed": 1, "unknown": 2, "clean": 3}
    cells = sorted(one.cells, key=lambda cell: (order[cell.state], -cell.weight, cell.zone))
    return msgspec.structs.replace(one, cells=tuple(cells)), history, findings.load(config.data_dir).found.get(name)


def _list(ledger: Ledger, config: Config, zone: str) -> tuple[ListSaid, list[ListingTime]]:
    zone = zone.rstrip(".").lower()
    one = next((one for one in known(ledger, config).lists if one.zone == zone), None)
    if one is None:
        raise DeskError(f"no list {zone}")
    one = msgspec.structs.replace(one, checked=queries.checked(ledger, zone=zone).get(zone, 0.0))
    return one, listed_times(ledger, zone=zone)


def listed_times(ledger: Ledger, *, subject: str = "", zone: str = "") -> list[ListingTime]:
    """When a subject, or by a list, or at all something was listed: of the newest changes. Sync; raises LedgerError."""
    lasting = listing_queries.listings(ledger, subjects=[subject] if subject else (), known="listed")
    rows = [row for row in lasting if zone in ("", row["zone"])]
    return listing_times(queries.changes(ledger, subject=subject, zone=zone), rows)
