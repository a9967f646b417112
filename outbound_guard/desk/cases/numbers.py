"""How well cases are worked: times to detection, containment and removal, where listings come from, what comes back."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from outbound_guard.ledger import case_lists
from outbound_guard.ledger.database import Ledger

_UNKNOWN = "not known yet"


async def numbers(ledger: Ledger, now: float, *, since: float = 0.0) -> dict[str, Any]:
    """The figures of all cases opened since then (unix seconds). Times are seconds. Raises LedgerError.

    `detection`: from the first sign (the first refusal of a pattern; of a listing, when it began for us) until the case
    was opened. `containment` and `removal`: from opening, or opening again. A figure without cases has only `cases: 0`.
    `relisting_rate`: of the cases whose listings had ended, or that were closed, the share that came back.
    """
    found = await asyncio.to_thread(case_lists.times, ledger, since)
    listings = await asyncio.to_thread(case_lists.listings_by_cause, ledger, since)
    came_back = sum(1 for case in found if case["reopened"])
    ended = sum(1 for case in found if case["reopened"] or case["removed"] or case["state"] == "closed")
    return {
        "since": since,
        "cases": len(found),
        "open": sum(1 for case in found if case["state"] == "open"),
        "overdue": sum(1 for case in found if case["state"] == "open" and 0 < case["due"] < now),
        "detection": _times([case["opened"] - case["began"] for case in found if case["began"]]),
        "containment": _until("contained", found),
        "removal": _until("removed", found),
        "listings": [
            {"pool": pool, "cause": cause or _UNKNOWN, "listings": number}
            for pool, cause, number in sorted(listings, key=lambda one: (-one[2], one[:2]))
        ],
        "causes": dict(Counter(case["cause"] or _UNKNOWN for case in found).most_common()),
        "operators": dict(Counter(case["operator"] for case in found if case["operator"]).most_common()),
        "ended": ended,
        "came_back": came_back,
        "relisting_rate": came_back / ended if ended else None,
    }


def _until(what: str, cases: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How long it took from opening, or opening again."""
    return _times([case[what] - case["round_since"] for case in cases if case[what] >= case["round_since"]])


def _times(seconds: Sequence[float]) -> dict[str, float]:
    times = sorted(max(0.0, second) for second in seconds)
    if not times:
        return {"cases": 0}
    # The 90th percentile by nearest rank.
    high = times[min(len(times) - 1, -(-9 * len(times) // 10) - 1)]
    return {"cases": len(times), "median": statistics.median(times), "p90": high, "longest": times[-1]}
