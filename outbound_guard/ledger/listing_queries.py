"""What is known of our addresses on blocklists: reading and writing. Sync; all raise LedgerError.

Rows are dictionaries with the columns of the tables `listing`, `listing_history` and `own_address`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, tuple_, update

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.outbox_storing import of_listings
from outbound_guard.ledger.portions import PORTION, portions
from outbound_guard.ledger.schema import upsert
from outbound_guard.ledger.storing import insert_new
from outbound_guard.ledger.tables import delivery, listing, listing_history, own_address, revision

Row = dict[str, Any]
Merge = Callable[[dict[tuple[str, str], Row]], tuple[list[Row], list[Row]]]


def listings(ledger: Ledger, *, subjects: Sequence[str] = (), known: str = "") -> list[Row]:
    """What each list said last, by subject and zone: of all subjects or of these, in any state or of one `known`."""
    query = select(listing).order_by(listing.c.subject, listing.c.zone)
    if subjects:
        query = query.where(listing.c.subject.in_(subjects))
    if known:
        query = query.where(listing.c.known == known)
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def ever_listed(ledger: Ledger) -> list[Row]:
    """Those rows that are, or once were, listings: few of all that `listings` has."""
    query = select(listing).where((listing.c.known == "listed") | (listing.c.clean_since > 0))
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def history_since(ledger: Ledger, serial: int, limit: int = 1000) -> list[Row]:
    """The changes after `serial`, oldest first; the last one's `serial` is where to go on."""
    table = listing_history
    query = select(table).where(table.c.serial > serial).order_by(table.c.serial).limit(limit)
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def history_of(ledger: Ledger, subject: str = "", limit: int = 100) -> list[Row]:
    """The changes of one subject or of all, newest first."""
    table = listing_history
    query = select(table).order_by(table.c.time.desc(), table.c.serial.desc()).limit(limit)
    if subject:
        query = query.where(table.c.subject == subject)
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def keep(ledger: Ledger, keys: Sequence[tuple[str, str]], merge: Merge) -> None:
    """In one transaction: what is known of these (subject, zone) goes to `merge`, what that returns is written.

    `merge` gets the rows that are there by key, and returns the rows to put and the history to add.
    """
    subjects, zones = sorted({subject for subject, _ in keys}), sorted({zone for _, zone in keys})
    with ledger.connection() as connection:
        query = select(listing).where(listing.c.subject.in_(subjects), listing.c.zone.in_(zones))
        known = {(row["subject"], row["zone"]): dict(row) for row in connection.execute(query).mappings()}
        rows, history = merge(known)
        _put(connection, rows)
        _add(connection, listing_history, history)
        of_listings(connection, history)


def forget_others(ledger: Ledger, subjects: Iterable[str], zones: Iterable[str], now: float) -> None:
    """Remove what is known of subjects and lists that are not watched any more; the history says when that was."""
    subjects, zones = set(subjects), set(zones)
    with ledger.connection() as connection:
        found = connection.execute(select(listing.c.subject, listing.c.zone, listing.c.known)).all()
        gone = [row for row in found if row.subject not in subjects or row.zone not in zones]
        for some in portions(gone, PORTION // 2):
            keys = [(row.subject, row.zone) for row in some]
            connection.execute(delete(listing).where(tuple_(listing.c.subject, listing.c.zone).in_(keys)))
        _add(
            connection,
            listing_history,
            [
                {
                    "time": now,
                    "subject": row.subject,
                    "zone": row.zone,
                    "state": "unknown",
                    "codes": "",
                    "reason": "not watched any more",
                }
                for row in gone
                if row.known == "listed"
            ],
        )


def checked_of(ledger: Ledger) -> dict[tuple[str, str], float]:
    """When each subject was last asked about in each list (unix seconds), by (subject, zone)."""
    with ledger.connection() as connection:
        query = select(listing.c.subject, listing.c.zone, listing.c.checked)
        return {(row.subject, row.zone): row.checked for row in connection.execute(query)}


def own_addresses(ledger: Ledger) -> list[Row]:
    """The source addresses of the pools, by pool and address."""
    query = select(own_address).order_by(own_address.c.pool, own_address.c.address)
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def put_own_addresses(ledger: Ledger, rows: Sequence[Row]) -> None:
    """These are all there are; the revision of the addresses grows."""
    with ledger.connection() as connection:
        connection.execute(delete(own_address))
        _add(connection, own_address, list(rows))
        insert_new(connection, revision, [{"name": "own_address", "number": 0}])
        of_addresses = revision.c.name == "own_address"
        connection.execute(update(revision).where(of_addresses).values(number=revision.c.number + 1))


def forget_own_addresses(ledger: Ledger) -> None:
    """There are none, so that none rests; the revision grows only if there were some."""
    if own_addresses(ledger):
        put_own_addresses(ledger, [])


def resting(ledger: Ledger, known: int) -> tuple[int, dict[str, frozenset[str]]] | None:
    """The revision of the addresses, and those that rest by pool; None if it is still `known`."""
    with ledger.connection() as connection:
        number = connection.execute(select(revision.c.number).where(revision.c.name == "own_address")).scalar() or 0
        if number == known:
            return None
        query = select(own_address.c.pool, own_address.c.address).where(own_address.c.state == "resting")
        found: dict[str, set[str]] = {}
        for pool, address in connection.execute(query):
            found.setdefault(pool, set()).add(address)
    return number, {pool: frozenset(addresses) for pool, addresses in found.items()}


def counts(ledger: Ledger) -> dict[tuple[str, str], int]:
    """Subjects by (zone, state)."""
    query = select(listing.c.zone, listing.c.state, func.count()).group_by(listing.c.zone, listing.c.state)
    with ledger.connection() as connection:
        return {(zone, state): number for zone, state, number in connection.execute(query)}


def refusals_since(ledger: Ledger, serial: int, limit: int = 1000) -> list[Row]:
    """Replies of next hops that accepted nothing, after `serial`, oldest first: serial, code, enhanced, text."""
    query = select(delivery.c.serial, delivery.c.code, delivery.c.enhanced, delivery.c.text)
    query = query.where(delivery.c.serial > serial, delivery.c.code >= 400).order_by(delivery.c.serial).limit(limit)
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def last_delivery(ledger: Ledger) -> int:
    """The serial of the newest row of `delivery`; 0 if there is none."""
    with ledger.connection() as connection:
        return connection.execute(select(func.max(delivery.c.serial))).scalar() or 0


def _put(connection: Connection, rows: list[Row]) -> None:
    """Insert rows of `listing`, or put them in the place of those with the same key."""
    if rows:
        statement = upsert(connection, listing)
        columns = {column.name: statement.excluded[column.name] for column in listing.columns if not column.primary_key}
        connection.execute(statement.on_conflict_do_update(index_elements=["subject", "zone"], set_=columns), rows)


def _add(connection: Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(insert(table), rows)
