"""The tables of scripts/detect, from scores as the traffic laboratory gives them."""

from __future__ import annotations

from typing import Any

from benchmarks.detection_report import ablation, by_seed


def score(leak: int, cost: float, quarantined: float = 0.0) -> dict[str, Any]:
    return {
        "overall": {"accounts": 4, "uncontained": 1, "leak_median": 1, "leak_p95": leak, "stopped": 0.9},
        "legit": {
            "quarantined_per_10k": quarantined,
            "rejected_per_10k": 0.5,
            "throttled_per_10k": 1.0,
            "held_per_10k": 2.0,
            "delay_median_min": 12.0 if quarantined else None,
        },
        "wrong_suspensions_per_1k_account_days": 0.25,
        "cost": {"leak": cost - 1, "touch": 1.0, "total": cost},
    }


def cells(table: str, row: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {row} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_one_row_a_seed_and_their_mean() -> None:
    table = by_seed({"a": score(10, 5.0), "b": score(30, 9.0, quarantined=1.0)})
    assert cells(table, "a") == ["a", "1 / 10", "90.0 %", "3 of 4", "0.5", "3.0", "0.25", "4.0 + 1.0"]
    assert cells(table, "b")[4:6] == ["1.5", "3.0 (12 min)"]
    assert cells(table, "**mean**") == ["**mean**", "1.0 / 20.0", "90.0 %", "75.0 %", "1.0", "3.0", "0.25", "6.0 + 1.0"]
    assert "mean" not in by_seed({"a": score(10, 5.0)})
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_what_is_lost_without_a_signal() -> None:
    whole, without = {"a": score(10, 5.0)}, {"content": {"a": score(40, 25.5)}, "rate": {"a": score(9, 4.0)}}
    table = ablation(whole, without)
    assert cells(table, "nothing")[1] == "10.0"
    assert cells(table, "`content`")[1] == "40.0 (+30.0)"
    assert cells(table, "`content`")[-1] == "25.5 (+20.5)"
    assert cells(table, "`rate`")[-1] == "4.0 (-1.0)"
    assert len({line.count("|") for line in table.splitlines()}) == 1
