"""Since when, and until when: what lists have said over time, as times of listing instead of single changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

UNWATCHED = "not watched any more"
"""Why nothing is known of a listing: nobody asks. It is the last word on it (ledger.listing_queries.forget_others)."""


class ListingTime(msgspec.Struct, frozen=True, kw_only=True):
    """One time that a subject was on a list. Times are unix seconds."""

    subject: str
    zone: str
    since: float
    """When we first saw it; 0: before what is kept."""
    until: float
    """When it had ended; 0: it lasts, as far as is known."""
    codes: tuple[str, ...]
    """All that it was listed with."""
    reason: str
    """What the list said last."""
    uncertain: bool
    """True if the last that is known of it is that nothing is: no answer, or nobody asks any more."""


def listing_times(rows: Iterable[dict[str, Any]], lasting: Iterable[dict[str, Any]] = ()) -> list[ListingTime]:
    """Rows of `listing_history`, oldest first, as times of listing: those that last first, then the newest.

    `lasting`: rows of `listing` that are listed as far as is known; what began before the history is kept lasts too.
    """
    open_: dict[tuple[str, str], ListingTime] = {}
    ended: list[ListingTime] = []
    for row in rows:
        key = row["subject"], row["zone"]
        known = open_.get(key)
        if row["state"] == "listed":
            open_[key] = _listed(known, row)
        elif row["state"] == "clean":
            ended.append(_ended(known, row, uncertain=False))
            open_.pop(key, None)
        elif row["reason"] == UNWATCHED:
            ended.append(_ended(known, row, uncertain=True))
            open_.pop(key, None)
        elif known is not None:
            open_[key] = msgspec.structs.replace(known, uncertain=True)
    for row in lasting:
        key = row["subject"], row["zone"]
        if key not in open_:
            began = _listed(None, row | {"time": row["first_seen"]})
            open_[key] = msgspec.structs.replace(began, uncertain=row["state"] != "listed")
    return sorted(open_.values(), key=lambda one: -one.since) + sorted(ended, key=lambda one: (-one.until, -one.since))


def _listed(known: ListingTime | None, row: dict[str, Any]) -> ListingTime:
    codes = tuple(row["codes"].split())
    if known is None:
        return ListingTime(
            subject=row["subject"], zone=row["zone"], since=row["time"], until=0.0,
            codes=codes, reason=row["reason"], uncertain=False,
        )  # fmt: skip
    every = tuple(dict.fromkeys((*known.codes, *codes)))
    return msgspec.structs.replace(known, codes=every, reason=row["reason"], uncertain=False)


def _ended(known: ListingTime | None, row: dict[str, Any], *, uncertain: bool) -> ListingTime:
    if known is None:
        return ListingTime(
            subject=row["subject"], zone=row["zone"], since=0.0, until=row["time"],
            codes=(), reason="", uncertain=uncertain,
        )  # fmt: skip
    return msgspec.structs.replace(known, until=row["time"], uncertain=uncertain)
