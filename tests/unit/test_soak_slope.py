"""The soak's own arithmetic: what grows is found, what only varies is not, and what cannot be told is said."""

from __future__ import annotations

import math
import os
import random
import socket
import tempfile

import pytest

from tests.outage.flatness import Samples, held, not_flat, slope, verdict

MINUTES = 60


def made(
    mean: float, an_hour: float, noise: float, *, until: float = MINUTES, spikes: float = 0.0
) -> list[tuple[float, float]]:
    """Ten looks a minute; it grows until that minute; one look in three meets what is under way."""
    rng = random.Random(3)
    return [
        (
            minute / 10,
            mean
            + an_hour * min(minute / 10, until) / 60
            + rng.gauss(0, noise)
            + (spikes * rng.random() if rng.random() < 1 / 3 else 0.0),
        )
        for minute in range(10 * MINUTES)
    ]


def test_a_straight_line_has_its_slope() -> None:
    mean, growth, error = slope(made(100.0, 60.0, 0.0))
    assert mean == pytest.approx(127.0, abs=0.1)
    assert growth == pytest.approx(60.0)
    assert error == pytest.approx(0.0, abs=1e-6)


def test_of_too_few_looks_nothing_is_said() -> None:
    assert slope([(1.0, 7.0)]) == (7.0, 0.0, math.inf)
    assert verdict("memory", *slope(made(100_000.0, 0.0, 0.0)[:5])) == "unclear"


@pytest.mark.parametrize(
    ("what", "points", "said"),
    [
        ("memory", made(100_000.0, 0.0, 300.0), "flat"),
        ("memory", made(100_000.0, 3_000.0, 200.0), "flat"),
        ("memory", made(100_000.0, 12_000.0, 500.0), "grows"),
        ("memory", made(100_000.0, 3_000.0, 4_000.0), "unclear"),
        # What comes and goes is no growth, however much it is; under it a leak is seen all the same.
        ("memory", made(100_000.0, 0.0, 100.0, spikes=60_000.0), "flat"),
        ("memory", made(100_000.0, 12_000.0, 100.0, spikes=60_000.0), "grows"),
        # Caches that are full by half time.
        ("memory", made(100_000.0, 90_000.0, 300.0, until=30.0), "flat"),
        ("memory", made(20_000.0, 3_000.0, 100.0), "flat"),
        ("files", made(40.0, 0.0, 1.0, spikes=60.0), "flat"),
        ("files", made(40.0, 20.0, 1.0), "grows"),
        ("threads", made(8.0, 10.0, 0.0), "grows"),
    ],
)
def test_what_is_said(what: str, points: list[tuple[float, float]], said: str) -> None:
    samples = Samples()
    samples["relay-0", 1, what] = points
    wrong = not_flat(samples)
    assert [one.split()[2].rstrip(":") for one in wrong] == ([] if said == "flat" else [said])


def test_what_grows_by_its_nature_is_told_and_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    samples = Samples()
    samples["state", 1, "memory"] = made(10_000.0, 90_000.0, 0.0)
    assert not_flat(samples) == []
    assert "90000.0" in capsys.readouterr().out


def test_sockets_are_no_files() -> None:
    before = held(os.getpid())
    with tempfile.TemporaryFile(), socket.socket():
        after = held(os.getpid())
    assert (after["files"] - before["files"], after["sockets"] - before["sockets"]) == (1, 1)
    assert after["memory"] > 1000
    assert after["threads"] >= 1
