"""What was found goes into the ledger: what is known now, since when, and what has changed.

An unknown answer does not end a listing, and does not begin one: what is known stays as it was, with its times. Answers
come in portions, and those of a round may come later than newer ones that were asked for at once: these stay.
"""

from __future__ import annotations

from typing import Any

from outbound_guard.blocklist.listing import CLEAN, LISTED, UNKNOWN, Listing
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.listing_queries import keep

Row = dict[str, Any]


def put(ledger: Ledger, found: list[Listing], now: float) -> list[Row]:
    """Put answers in; the changes that went to the history. Raises LedgerError."""
    changes: list[Row] = []

    def merge(known: dict[tuple[str, str], Row]) -> tuple[list[Row], list[Row]]:
        rows = []
        for listing in found:
            old = known.get((listing.subject, listing.zone))
            # If what is known comes from the future, the clock was set back, and the answer is the newer one.
            if old and 0 < listing.last_seen < old["last_seen"] <= now:
                continue
            row, change = merged(old, listing, now)
            rows.append(row)
            if change is not None:
                changes.append(change)
        return rows, changes

    keep(ledger, [(listing.subject, listing.zone) for listing in found], merge)
    return changes


def merged(old: Row | None, found: Listing, now: float) -> tuple[Row, Row | None]:
    """The row of an answer over what was known, and its line in the history if it is worth one."""
    was = old["known"] if old else ""
    row = {
        "subject": found.subject,
        "zone": found.zone,
        "state": found.state,
        "known": found.state,
        "codes": " ".join(found.codes),
        "reason": found.reason,
        "scope": found.scope,
        "weight": found.weight,
        "first_seen": now,
        "last_seen": now,
        "clean_since": 0.0,
        "checked": now,
    }
    if found.state == UNKNOWN:
        row |= {"known": "", "first_seen": 0.0, "last_seen": 0.0}
        if old:
            row |= {name: old[name] for name in ("known", "first_seen", "last_seen", "clean_since")}
        if old and was == LISTED:
            row |= {name: old[name] for name in ("scope", "weight")}
    elif old and was == found.state:
        row |= {"first_seen": old["first_seen"], "clean_since": old["clean_since"]}
    elif found.state == CLEAN and was == LISTED:
        row["clean_since"] = now
    change = {name: row[name] for name in ("subject", "zone", "state", "codes", "reason")} | {"time": now}
    return row, change if _is_news(old, row) else None


def _is_news(old: Row | None, new: Row) -> bool:
    if old is None or old["known"] != LISTED:
        return bool(new["state"] == LISTED)
    if new["state"] == LISTED:
        return bool(old["state"] != LISTED or old["codes"] != new["codes"])
    # That nothing is known is news only of what was listed, and once.
    return bool(old["state"] != new["state"])
