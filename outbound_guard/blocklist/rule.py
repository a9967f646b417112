"""Which source addresses rest. Pure: from what lists say to who sends.

A listing about the address itself counts with the weight of its list, and weights add up; one about a range counts only
if it is heavy enough alone; one about a whole network never does, since no other address of the pool would be better.
An address that rests comes back when it has been without such listings for a while. The last address of its kind in a
pool stays in use, whatever is said of it: mail that is refused by some is better than mail that does not leave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from outbound_guard.blocklist.listing import LISTED
from outbound_guard.blocklist.own import family_of

IN_USE, RESTING, KEPT = "in_use", "resting", "kept"
STALE_SECONDS = 7 * 86400.0
"""A listing that no valid answer has confirmed for so long does not count any more: the list may be dead."""

Row = dict[str, Any]


class Load(msgspec.Struct, frozen=True):
    """What speaks against an address now."""

    weight: float = 0.0
    reason: str = ""
    clean_since: float = 0.0
    """When the last listing that counted ended (unix seconds); 0: none did."""


def load_of(rows: Iterable[Row], rest_weight: float, now: float) -> Load:
    """What the rows of `listing` about one address come to. `rest_weight` is the weight from which on it rests."""
    total, said, clean_since = 0.0, [], 0.0
    for row in sorted(rows, key=lambda row: (-row["weight"], row["zone"])):
        if row["scope"] == "network" or row["weight"] <= 0:
            continue
        if row["scope"] == "range" and row["weight"] < rest_weight:
            continue
        if row["known"] != LISTED:
            clean_since = max(clean_since, row["clean_since"])
        elif row["state"] == LISTED or now - row["last_seen"] < STALE_SECONDS:
            total += row["weight"]
            said.append(f"{row['zone']} (weight {row['weight']:g})")
    return Load(total, "listed by " + ", ".join(said) if said else "", clean_since)


def decide(
    pools: Mapping[str, Sequence[str]],
    rows: Mapping[str, Sequence[Row]],
    before: Mapping[tuple[str, str], Row],
    now: float,
    *,
    rest_weight: float,
    rest_clean: float,
) -> list[Row]:
    """The rows of `own_address`: one for each source address of each pool.

    `rows`: what lists say, by address. `before`: the rows as they are, by pool and address. With `rest_weight` 0 none
    rests.
    """
    decided = []
    for pool, addresses in pools.items():
        loads = {address: load_of(rows.get(address, ()), rest_weight, now) for address in addresses}
        wanted = {}
        for address in addresses if rest_weight > 0 else ():
            if why := _why(loads[address], before.get((pool, address)), rest_weight, rest_clean, now):
                wanted[address] = why
        kept = set()
        for family in ("ip4", "ip6"):
            alike = [address for address in addresses if family_of(address) == family]
            if alike and all(address in wanted for address in alike):
                kept.add(_least_bad(alike, loads, {a for a in alike if _state(before, pool, a) == KEPT}))
        for address in addresses:
            state = KEPT if address in kept else RESTING if address in wanted else IN_USE
            old = before.get((pool, address))
            since = old["since"] if old and old["state"] == state else now
            reason = wanted.get(address, loads[address].reason)
            decided.append({"pool": pool, "address": address, "state": state, "since": since, "reason": reason})
    return decided


def _why(load: Load, old: Row | None, rest_weight: float, rest_clean: float, now: float) -> str:
    """Why an address should rest; empty if it should not."""
    if load.weight >= rest_weight:
        return load.reason
    if old is None or old["state"] == IN_USE:
        return ""
    # It did rest. A clock that was set back must not make the time longer.
    if 0 <= now - load.clean_since < rest_clean:
        return "was listed until of late"
    return ""


def _least_bad(addresses: Sequence[str], loads: Mapping[str, Load], kept: set[str]) -> str:
    """The one that stays in use: that with the least weight; of equals the one that stayed before, to take no turns."""
    return min(addresses, key=lambda address: (loads[address].weight, address not in kept))


def _state(before: Mapping[tuple[str, str], Row], pool: str, address: str) -> str:
    old = before.get((pool, address))
    return old["state"] if old else IN_USE
