"""Thresholds chosen without one kind of traffic, and what that kind gets then: is a figure more than a fit to its kind?

For each kind of attack and of honest sender the thresholds with the lowest cost on all *other* kinds are chosen, and
the kind itself is scored with them. What is chosen here is one number, by how much all thresholds are moved; the
weights of the signals are set by reasoning about senders, and the content model by texts of other traces.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

Score = Mapping[str, Any]
Shifted = Mapping[float, Mapping[str, Score]]
"""By how many nats the thresholds were moved -> seed -> score."""

QUARANTINED, DELAYED = 5.0, 0.2
"""What an honest message costs, in leaked recipients: about as the laboratory counts, with delays of some minutes."""


def table(shifted: Shifted) -> str:
    """One row for each kind: the shift chosen without it, and its own figures with that, and as shipped."""
    seeds = list(shifted[0.0].values())
    rows = [
        "| left out | thresholds chosen without it | leaked recipients per account | spam stopped, % "
        "| quarantined or refused /10k | delayed /10k |",
        "|---|" + "---:|" * 5,
    ]
    for kind in seeds[0]["scenarios"]:
        chosen = _best(shifted, kind)
        leaked, stopped = (
            f"{_mean(shifted[chosen], of, kind):.1f} ({_mean(shifted[0.0], of, kind):.1f})"
            for of in (_leaked, _stopped)
        )
        rows.append(f"| `{kind}` | {chosen:+g} | {leaked} | {stopped} | | |")
    for kind in seeds[0]["legit_types"]:
        chosen = _best(shifted, kind)
        cells = [
            f"{_mean(shifted[chosen], of, kind):.1f} ({_mean(shifted[0.0], of, kind):.1f})" for of in (_kept, _late)
        ]
        rows.append(f"| {kind} | {chosen:+g} | | | {cells[0]} | {cells[1]} |")
    return "\n".join(rows) + "\n\nIn brackets: with the shipped thresholds.\n"


def _best(shifted: Shifted, without: str) -> float:
    """The shift with the lowest mean cost on all kinds but one; the shipped thresholds where it is the same."""
    return min(shifted, key=lambda shift: (round(_mean(shifted[shift], _cost, without), 3), abs(shift)))


def _cost(score: Score, without: str) -> float:
    leaks = [row["rcpt_mean"] for kind, row in score["scenarios"].items() if kind != without]
    touched = sum(
        QUARANTINED * (row["quarantined"] + row["rejected"]) + DELAYED * (row["held"] + row["throttled"])
        for kind, row in score["legit_types"].items()
        if kind != without
    )
    return statistics.fmean(leaks) + 1000 * touched / float(score["account_days"])


def _leaked(score: Score, kind: str) -> float:
    return float(score["scenarios"][kind]["rcpt_mean"])


def _stopped(score: Score, kind: str) -> float:
    return 100 * float(score["scenarios"][kind]["stopped"])


def _kept(score: Score, kind: str) -> float:
    row = score["legit_types"][kind]
    return float(row["quarantined_per_10k"] + row["rejected_per_10k"])


def _late(score: Score, kind: str) -> float:
    row = score["legit_types"][kind]
    return float(row["held_per_10k"] + row["throttled_per_10k"])


def _mean(scores: Mapping[str, Score], of: Any, *rest: Any) -> float:
    return statistics.fmean(of(score, *rest) for score in scores.values())
