"""Thresholds chosen without one kind of traffic."""

from __future__ import annotations

from typing import Any

from benchmarks.detection_left_out import table


def score(phish: float, burst: float, shop_quarantined: int) -> dict[str, Any]:
    shop = {"quarantined": shop_quarantined, "rejected": 0, "held": 0, "throttled": 0}
    return {
        "scenarios": {"phish": {"rcpt_mean": phish, "stopped": 0.9}, "burst": {"rcpt_mean": burst, "stopped": 0.95}},
        "legit_types": {"shop": {f"{name}_per_10k": float(number) for name, number in shop.items()} | shop},
        "account_days": 1000,
    }


def row(text: str, kind: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {kind} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_kind_itself_has_no_say_in_the_choice() -> None:
    # Lower thresholds are good against phishing and bad for shops; for bursts they make no difference.
    shifted = {0.0: {"a": score(8.0, 2.0, 0)}, -1.0: {"a": score(2.0, 2.0, 1)}, 1.0: {"a": score(20.0, 2.0, 0)}}
    text = table(shifted)
    # Without shops nothing speaks against the lower ones; without phishing nothing speaks for them.
    assert row(text, "shop")[1] == "-1"
    assert row(text, "shop")[4] == "1.0 (0.0)"
    assert row(text, "`phish`")[1] == "+0"
    assert row(text, "`phish`")[2:4] == ["8.0 (8.0)", "90.0 (90.0)"]
    assert row(text, "`burst`")[2] == "2.0 (2.0)"
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
