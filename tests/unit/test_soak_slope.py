"""The soak's own arithmetic: what grows is found, what only varies is not."""

from __future__ import annotations

import random

import pytest

from tests.outage.soak import Samples, grown, slope


def made(mean: float, an_hour: float, noise: float) -> list[tuple[float, float]]:
    rng = random.Random(3)
    return [(minute / 10, mean + an_hour * minute / 600 + rng.gauss(0, noise)) for minute in range(600)]


def test_a_straight_line_has_its_slope() -> None:
    mean, growth, error = slope(made(100.0, 60.0, 0.0))
    assert mean == pytest.approx(130.0, abs=0.1)
    assert growth == pytest.approx(1.0)
    assert error == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("what", "mean", "an_hour", "noise", "found"),
    [
        ("memory", 100_000.0, 0.0, 3_000.0, False),
        ("memory", 100_000.0, 4_000.0, 500.0, False),
        ("memory", 100_000.0, 12_000.0, 2_000.0, True),
        ("memory", 20_000.0, 3_000.0, 100.0, False),
        ("files", 40.0, 0.0, 8.0, False),
        ("files", 40.0, 20.0, 5.0, True),
    ],
)
def test_what_is_put_up_with(what: str, mean: float, an_hour: float, noise: float, found: bool) -> None:
    samples: Samples = {("relay-0", 1, what): made(mean, an_hour, noise)}
    assert bool(grown(samples, 60.0)) == found
