"""Scores of the traffic laboratory as markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

Score = Mapping[str, Any]

_HEAD = (
    "| seed | leaked per account, median / p95 | spam stopped | contained | legit quarantined or refused /10k "
    "| delayed /10k (median) | wrong suspensions /1k days | cost, leak + touch |\n|---|" + "---:|" * 7
)


def by_seed(scores: Mapping[str, Score]) -> str:
    """One row a seed and, of several, their mean."""
    rows = [_HEAD]
    for seed, score in scores.items():
        legit, all_ = score["legit"], score["overall"]
        cells = [
            seed,
            f"{all_['leak_median']} / {all_['leak_p95']}",
            f"{100 * all_['stopped']:.1f} %",
            f"{all_['accounts'] - all_['uncontained']} of {all_['accounts']}",
            f"{_touched(score):.1f}",
            f"{_delayed(score):.1f}" + (f" ({legit['delay_median_min']:.0f} min)" if legit["delay_median_min"] else ""),
            f"{_wrong(score):.2f}",
            f"{score['cost']['leak']:.1f} + {score['cost']['touch']:.1f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    if len(scores) > 1:
        all_scores = list(scores.values())
        cells = [
            "**mean**",
            f"{_mean(all_scores, _leak_median):.1f} / {_mean(all_scores, _leak_p95):.1f}",
            f"{_mean(all_scores, _stopped):.1f} %",
            f"{_mean(all_scores, _contained):.1f} %",
            f"{_mean(all_scores, _touched):.1f}",
            f"{_mean(all_scores, _delayed):.1f}",
            f"{_mean(all_scores, _wrong):.2f}",
            " + ".join(f"{_mean(all_scores, of):.1f}" for of in (_cost_of_leaks, _cost_of_touch)),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def ablation(whole: Mapping[str, Score], without: Mapping[str, Mapping[str, Score]]) -> str:
    """One row a signal: means over the seeds without it, and in brackets what that changes."""
    figures: list[tuple[str, int, Callable[[Score], float]]] = [
        ("leaked per account, p95", 1, _leak_p95),
        ("spam stopped, %", 1, _stopped),
        ("contained, %", 1, _contained),
        ("legit quarantined or refused /10k", 1, _touched),
        ("delayed /10k", 1, _delayed),
        ("wrong suspensions /1k days", 2, _wrong),
        ("cost", 1, _cost),
    ]
    rows = [
        "| without | " + " | ".join(name for name, _, _ in figures) + " |",
        "|---|" + "---:|" * len(figures),
        "| nothing | " + " | ".join(f"{_mean(list(whole.values()), of):.{d}f}" for _, d, of in figures) + " |",
    ]
    for name, scores in without.items():
        cells = []
        for _, digits, of in figures:
            now, before = _mean(list(scores.values()), of), _mean(list(whole.values()), of)
            cells.append(f"{now:.{digits}f} ({now - before:+.{digits}f})")
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _mean(scores: list[Score], of: Callable[[Score], float]) -> float:
    return statistics.fmean(of(score) for score in scores)


def _leak_median(score: Score) -> float:
    return float(score["overall"]["leak_median"])


def _leak_p95(score: Score) -> float:
    return float(score["overall"]["leak_p95"])


def _stopped(score: Score) -> float:
    return 100.0 * float(score["overall"]["stopped"])


def _contained(score: Score) -> float:
    accounts = score["overall"]["accounts"]
    return 100.0 * float(accounts - score["overall"]["uncontained"]) / float(accounts)


def _touched(score: Score) -> float:
    return float(score["legit"]["quarantined_per_10k"] + score["legit"]["rejected_per_10k"])


def _delayed(score: Score) -> float:
    return float(score["legit"]["throttled_per_10k"] + score["legit"]["held_per_10k"])


def _wrong(score: Score) -> float:
    return float(score["wrong_suspensions_per_1k_account_days"] or 0.0)


def _cost_of_leaks(score: Score) -> float:
    return float(score["cost"]["leak"])


def _cost_of_touch(score: Score) -> float:
    return float(score["cost"]["touch"])


def _cost(score: Score) -> float:
    return float(score["cost"]["total"])
