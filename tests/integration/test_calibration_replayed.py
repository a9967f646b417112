"""scripts/calibration from end to end, on a tiny trace, with the packaged model instead of one trained for it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import calibration, detection_lab

pytestmark = pytest.mark.long


@pytest.mark.slow
@pytest.mark.skipif(detection_lab.missing() is not None, reason="the folder shared is not beside the repository")
def test_a_tiny_trace_is_made_replayed_and_drawn(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = resources.files("outbound_guard.content").joinpath("weights.bin")
    words = ["--size", "tiny", "--seeds", "1", "--model", str(model), "--results", str(tmp_path)]
    assert calibration.main(words) == 0
    out = capfd.readouterr().out
    assert out.count("| nats | messages |") == 2
    run = tmp_path / "trace-tiny-1-calibration.run.jsonl"
    points = list(calibration.read(run, tmp_path / "trace-tiny-1"))
    assert f"**The score**: {len(points)} messages, {sum(p.abuse for p in points)} of them abuse" in out
    # What is abuse scores higher, and by the content too.
    for said in (lambda p: p.score, lambda p: p.content):
        bad, good = ([said(p) for p in points if p.abuse is abuse] for abuse in (True, False))
        assert sum(bad) / len(bad) > sum(good) / len(good)
    ElementTree.parse(tmp_path / "calibration.svg")
