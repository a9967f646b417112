"""scripts/calibration: bins, intervals, the fitted curve, the picture and the table, from runs with known truth."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import calibration, calibration_plot, detection_lab
from benchmarks.calibration import LEAST, Point, fit, log_odds, probability, read, reliability, wilson

SVG = "{http://www.w3.org/2000/svg}"


def drawn(count: int, *, slope: float = 1.0, alike: bool = False, share: float = 0.2) -> list[tuple[float, bool, str]]:
    """Messages whose scores are right, but that a nat is worth `slope`; `alike`: accounts send one kind only."""
    chance, made = random.Random(7), []
    while len(made) < count:
        nats, account = chance.gauss(0, 2.5), f"a{len(made) // 20}" if alike else f"a{len(made)}"
        bad = chance.random() < probability(log_odds(share) + slope * nats)
        made += [(nats, bad, account)] * (20 if alike else 1)
    return made


def test_scores_that_are_right_are_found_right() -> None:
    found = reliability("the score", drawn(20_000), 0.2)
    assert found.slope == pytest.approx(1.0, abs=0.05)
    assert found.offset == pytest.approx(0.0, abs=0.1)
    assert found.error < 0.01
    assert found.log_loss < found.log_loss_of_nothing
    assert sum(b.count for b in found.bins) == found.count == 20_000
    assert sum(b.abuse for b in found.bins) == found.abuse
    inside = [b.least <= b.predicted <= b.most for b in found.bins]
    assert sum(inside) >= 0.85 * len(inside)


def test_scores_that_say_too_little_are_found_out() -> None:
    found = reliability("the score", drawn(20_000, slope=2.0), 0.2)
    assert found.slope == pytest.approx(2.0, abs=0.1)
    assert found.error > 0.03
    outside = [not b.least <= b.predicted <= b.most for b in found.bins]
    assert sum(outside) >= 0.5 * len(outside)


def test_messages_of_one_account_are_not_taken_for_independent() -> None:
    apart, alike = reliability("x", drawn(4000), 0.2), reliability("x", drawn(4000, alike=True), 0.2)

    def width(found: calibration.Reliability) -> float:
        return sum((b.most - b.least) * b.count for b in found.bins) / found.count

    assert width(alike) > 2.5 * width(apart)


@given(
    st.lists(st.tuples(st.floats(-12, 20), st.booleans(), st.sampled_from("abcdef")), min_size=2, max_size=300).filter(
        lambda said: len({bad for _, bad, _ in said}) == 2
    )
)
def test_bins_cover_everything_in_order_and_hold_their_messages(said: list[tuple[float, bool, str]]) -> None:
    found = reliability("x", said)
    assert sum(b.count for b in found.bins) == len(said)
    for b in found.bins:
        assert b.count >= min(LEAST, len(said))
        assert 0 <= b.least <= b.observed <= b.most <= 1
        assert b.abuse == sum(1 for nats, bad, _ in said if bad and b.low <= nats < b.high)
    for one, other in zip(found.bins, found.bins[1:], strict=False):
        assert one.high <= other.low
    assert math.isfinite(found.slope)
    ElementTree.fromstring(calibration_plot.svg([found]))


def test_wilson() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    narrow, wide = wilson(50, 100), wilson(50, 100, 4.0)
    assert wide == pytest.approx(wilson(12.5, 25))  # type: ignore[arg-type]
    assert wide[0] < narrow[0]


def test_only_one_kind_cannot_be_calibrated() -> None:
    with pytest.raises(ValueError, match="0 of 50 messages are abuse"):
        reliability("x", [(1.0, False, "a")] * 50)


def test_the_fit_of_what_is_separated_ends() -> None:
    offset, slope = fit([(-2.0, False)] * 20 + [(2.0, True)] * 20)
    assert math.isfinite(offset)
    assert slope > 1


# -- From files ------------------------------------------------------------------------------------------------------


def written(folder: Path, rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> tuple[Path, Path]:
    trace, run = folder / "trace", folder / "run.jsonl"
    trace.mkdir()
    with (trace / "labels.jsonl").open("w") as labels, run.open("w") as records:
        for n, (record, label) in enumerate(rows):
            base = {"id": f"t{n}", "score": 0.0, "account": "s", "reasons": [], "final": "relay"}
            records.write(json.dumps(base | record) + "\n")
            labels.write(
                json.dumps({"id": f"t{n}", "label": "ham", "account": "a", "under_attack": False} | label) + "\n"
            )
    return run, trace


SPAM, OWNER = {"label": "spam", "under_attack": True}, {"label": "ham", "under_attack": True}


def test_what_is_read_of_a_run(tmp_path: Path) -> None:
    run, trace = written(
        tmp_path,
        [
            ({"score": -0.4, "reasons": ["clients -0.2: usual", "content -0.2: like ham"]}, {}),
            ({"score": 7.5, "reasons": ["content +3.0: like spam: content +9.0: x", "rate +2.0: many"]}, SPAM),
            ({"score": 8.0}, OWNER),
            ({"score": 13.0, "suspended": True, "reasons": ["recipients +4.0: new"]}, SPAM),
            ({"score": 14.0, "suspended": True}, SPAM),
            ({"score": 14.0, "suspended": True, "account": "other"}, SPAM),
        ],
    )
    assert list(read(run, trace)) == [
        Point(-0.4, -0.2, False, "a"),
        Point(7.5, 3.0, True, "a"),
        Point(13.0, 0.0, True, "a"),
        Point(14.0, 0.0, True, "a"),
    ]


def test_the_command_draws_and_prints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [
        ({"score": nats, "reasons": [f"content {nats / 2:+.1f}: said"]}, SPAM if bad else {})
        for nats, bad, _ in drawn(2000)
    ]
    run, trace = written(tmp_path, rows)
    picture = tmp_path / "out" / "calibration.svg"
    assert calibration.main(["--run", str(run), str(trace), "--out", str(picture), "--results", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert "**The score**: 2000 messages" in out
    assert "**The content signal alone**: 2000 messages" in out
    tables = [line for line in out.splitlines() if line.startswith("| ") and " to " in line.split("|")[1]]
    root = ElementTree.parse(picture).getroot()
    # One circle for each bin, beside the legend's.
    assert len(root.findall(f".//{SVG}circle")) == len(tables) + 1
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert "Predicted by the score" in words
    assert "Predicted by the content signal alone" in words
    again = tmp_path / "again.svg"
    calibration.main(["--run", str(run), str(trace), "--out", str(again), "--results", str(tmp_path)])
    assert again.read_bytes() == picture.read_bytes()
    assert str(picture) in err


@pytest.mark.parametrize("broken", ["missing", "line", "label"])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str], broken: str) -> None:
    run, trace = written(tmp_path, [({}, {}), ({}, SPAM)])
    if broken == "missing":
        run.unlink()
    elif broken == "line":
        run.write_text("{")
    else:
        (trace / "labels.jsonl").write_text("")
    assert calibration.main(["--run", str(run), str(trace), "--out", str(tmp_path / "x.svg")]) == 1
    said = capfd.readouterr().err
    assert said.startswith(f"scripts/calibration: {run}: ") or broken == "missing"
    assert said.count("\n") == 1
    assert str(run) in said
    assert not (tmp_path / "x.svg").exists()


@pytest.mark.parametrize("share", ["0", "1", "x"])
def test_a_prior_is_a_probability(share: str) -> None:
    with pytest.raises(SystemExit):
        calibration.main(["--prior", share])


def test_without_the_laboratory_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(detection_lab, "TRAFFIC", tmp_path)
    assert calibration.main(["--results", str(tmp_path / "results")]) == 1
    assert "is absent" in capfd.readouterr().err
