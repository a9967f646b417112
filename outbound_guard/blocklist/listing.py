"""What one list says about one address or domain of ours."""

from __future__ import annotations

from typing import Any

import msgspec

LISTED, CLEAN, UNKNOWN = "listed", "clean", "unknown"


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one list about one subject; times are unix seconds."""

    subject: str
    """Address or domain, in its usual form."""
    zone: str
    """The list; of a paid one without the key."""
    state: str
    """listed | clean | unknown: no answer, or none that counts."""
    codes: tuple[str, ...] = ()
    """The addresses in the answer, sorted; of an unknown one the raw answer, whatever it was."""
    reason: str = ""
    """Listed: what the list says (TXT), else what the codes mean. Unknown: why the answer does not count."""
    scope: str = "address"
    """address | range | network: what the listing is about."""
    weight: float = 0.0
    """How much receivers heed it; 0: not at all."""
    first_seen: float = 0.0
    """When this listing, or this time without one, began for us."""
    last_seen: float = 0.0
    """When a valid answer last said so. An unknown one keeps both times of what was known before."""


def listing_of(row: dict[str, Any]) -> Listing:
    """A row of the table `listing` as a record."""
    fields = {name: row[name] for name in Listing.__struct_fields__ if name != "codes"}
    return Listing(**fields, codes=tuple(row["codes"].split()))
