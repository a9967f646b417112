"""Results as a markdown table, with the goals beside the figures."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from benchmarks.product import VARIANTS

CPU_GOALS = {"4k c20 many": 0.30, "50k c20 many": 1.3, "1m c20 many": 7.0}
"""CPU ms per message, state server included, without the content model."""
P50_GOALS = {"4k c1 many": 3.0}
"""Milliseconds from MAIL FROM to the answer to the final dot."""
REPLAY_GOAL = 1000.0
"""Transactions per second."""


def relay_table(results: Iterable[dict[str, Any]]) -> str:
    """One row per target and cell: medians over the runs. `results` are the harness's, each with a `target`."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["cell"], result["target"]), []).append(result)
    rows = [
        "| cell | target | CPU ms/msg | of which | msg/s | p50 ms | p99 ms | RSS MB | goal |",
        "|---|---|---:|---|---:|---:|---:|---:|---|",
    ]
    for (cell, target), runs in groups.items():
        parts = ", ".join(
            f"{part} {statistics.median(run['cpu'].get(part, 0.0) for run in runs):.3f}" for part in runs[0]["cpu"]
        )
        cells = [
            cell,
            target,
            _median(runs, "cpu_total", 3),
            parts or "–",
            _median(runs, "rate", 0),
            _median(runs, "p50", 2),
            _median(runs, "p99", 2),
            _median(runs, "rss_total", 0),
            _goal(cell, runs) if target in VARIANTS else "",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n" + "".join(_trouble(groups))


def _median(runs: list[dict[str, Any]], key: str, digits: int) -> str:
    values = [run[key] for run in runs if run[key] is not None]
    return f"{statistics.median(values):.{digits}f}" if values else "–"


def _goal(cell: str, runs: list[dict[str, Any]]) -> str:
    for goals, key, what in ((CPU_GOALS, "cpu_total", "CPU"), (P50_GOALS, "p50", "p50")):
        values = [run[key] for run in runs if run[key] is not None]
        if cell in goals and values:
            return f"{what} ≤ {goals[cell]:g}: {'met' if statistics.median(values) <= goals[cell] else 'missed'}"
    return ""


def _trouble(groups: dict[tuple[str, str], list[dict[str, Any]]]) -> Iterable[str]:
    """A line for each group in which a message failed or did not arrive."""
    for (cell, target), runs in groups.items():
        failed = sum(run["tempfail"] + run["permfail"] + run["connerr"] + run["unfinished"] for run in runs)
        missing = sum(run["accepted"] - run["delivered"] for run in runs)
        if failed or missing:
            last = next((run["last_failure"] for run in runs if run["last_failure"]), "")
            yield f"\n{target}, {cell}: {failed} failed ({last}), {missing} accepted but not delivered in time\n"


def replay_lines(result: dict[str, Any]) -> str:
    """The replay's figures as a markdown table."""
    met = "met" if result["per_second"] >= REPLAY_GOAL else "missed"
    return (
        "| replay --stdio | transactions/s | CPU ms/transaction | start s | transactions | events | goal |\n"
        "|---|---:|---:|---:|---:|---:|---|\n"
        f"| trace `{result['size']}`, seed {result['seed']} | {result['per_second']:.0f} | {result['cpu_ms']:.2f} | "
        f"{result['start']:.2f} | {result['transactions']} | {result['events']} | "
        f"≥ {REPLAY_GOAL:.0f}/s: {met} |\n"
    )
