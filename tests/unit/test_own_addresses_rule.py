"""Which addresses rest, return, or stay because there is no other."""

from __future__ import annotations

from typing import Any

import pytest

from outbound_guard.blocklist.rule import STALE_SECONDS, decide

NOW = 1_000_000.0
A, B, C, V6 = "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"


def row(weight: float, scope: str = "address", **other: Any) -> dict[str, Any]:
    """A listing, or with known="clean" its end."""
    fields = {
        "zone": f"{scope}{weight:g}.test",
        "state": "listed",
        "known": "listed",
        "scope": scope,
        "weight": weight,
        "last_seen": NOW,
        "clean_since": 0.0,
    }
    return fields | other


def ended(weight: float, at: float, scope: str = "address") -> dict[str, Any]:
    return row(weight, scope, state="clean", known="clean", clean_since=at)


def states(
    rows: dict[str, list[dict[str, Any]]],
    *addresses: str,
    before: dict[str, str] | None = None,
    rest_weight: float = 2.0,
    now: float = NOW,
) -> dict[str, str]:
    old = {
        ("p", address): {"pool": "p", "address": address, "state": state, "since": 1.0, "reason": ""}
        for address, state in (before or {}).items()
    }
    decided = decide({"p": addresses}, rows, old, now, rest_weight=rest_weight, rest_clean=3600.0)
    return {row["address"]: row["state"] for row in decided}


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], "in_use"),
        ([row(3)], "resting"),
        ([row(1)], "in_use"),
        ([row(1), row(1.5)], "resting"),
        ([row(3, "range")], "resting"),
        ([row(1, "range"), row(1.5, "range")], "in_use"),
        ([row(1.5, "range"), row(1)], "in_use"),
        ([row(9, "network")], "in_use"),
        ([row(3, state="unknown")], "resting"),
        ([row(3, state="unknown", last_seen=NOW - STALE_SECONDS)], "in_use"),
        ([row(3, state="unknown", known="")], "in_use"),
        ([ended(3, NOW - 1)], "in_use"),
    ],
)
def test_scope_and_weight_decide(rows: list[dict[str, Any]], state: str) -> None:
    assert states({A: rows}, A, B) == {A: state, B: "in_use"}


def test_an_address_returns_after_it_was_clean_for_a_while() -> None:
    rested = {A: "resting", B: "in_use"}
    assert states({A: [ended(3, NOW - 3599)]}, A, B, before=rested)[A] == "resting"
    assert states({A: [ended(3, NOW - 3600)]}, A, B, before=rested)[A] == "in_use"
    # What does not count neither keeps it away; nor does a clock that was set back.
    assert states({A: [ended(3, NOW - 1, "network"), ended(3, NOW - 9999)]}, A, B, before=rested)[A] == "in_use"
    assert states({A: [ended(3, NOW + 1)]}, A, B, before=rested)[A] == "in_use"
    # Nothing is known of it any more.
    assert states({}, A, B, before=rested)[A] == "in_use"


def test_a_pool_is_never_emptied() -> None:
    rows = {A: [row(3)], B: [row(2)], C: [row(3)]}
    assert states(rows, A, B, C) == {A: "resting", B: "kept", C: "resting"}
    assert states({A: [row(3)]}, A) == {A: "kept"}
    # Of equals always the same one stays.
    rows = {A: [row(3)], B: [row(3)]}
    assert states(rows, A, B, before={B: "kept", A: "resting"}) == {A: "resting", B: "kept"}
    # One of another kind of address is no replacement: it may not reach the same next hops.
    assert states({A: [row(3)]}, A, V6) == {A: "kept", V6: "in_use"}


def test_the_one_that_stayed_rests_when_another_returns() -> None:
    before = {A: "kept", B: "resting"}
    assert states({A: [row(3)], B: [ended(3, NOW - 4000)]}, A, B, before=before) == {A: "resting", B: "in_use"}


def test_weight_0_lets_none_rest() -> None:
    assert states({A: [row(1000)]}, A, B, rest_weight=0.0) == {A: "in_use", B: "in_use"}


def test_an_address_rests_in_each_of_its_pools_that_has_another() -> None:
    decided = decide({"p": (A, B), "q": (A,)}, {A: [row(3)]}, {}, NOW, rest_weight=2.0, rest_clean=1.0)
    assert {(d["pool"], d["address"]): d["state"] for d in decided} == {
        ("p", A): "resting",
        ("p", B): "in_use",
        ("q", A): "kept",
    }
    assert decided[0]["reason"] == "listed by address3.test (weight 3)"
