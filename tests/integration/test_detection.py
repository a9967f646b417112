"""scripts/detect from end to end, on a tiny trace, with the packaged model instead of one trained for it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from benchmarks import detection, detection_lab


@pytest.mark.slow
@pytest.mark.skipif(detection_lab.missing() is not None, reason="the folder shared is not beside the repository")
def test_a_tiny_trace_is_made_replayed_and_scored(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = resources.files("outbound_guard.content").joinpath("weights.bin")
    words = ["--size", "tiny", "--seeds", "1", "--model", str(model), "--results", str(tmp_path)]
    assert detection.main(words) == 0
    assert "| seed |" in capfd.readouterr().out
    result = json.loads((tmp_path / "trace-tiny-1-all.score.json").read_text())
    assert result["legit"]["messages"] > 100
    assert result["overall"]["accounts"] > 0


def test_without_the_laboratory_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(detection_lab, "TRAFFIC", tmp_path)
    assert detection.main(["--results", str(tmp_path / "results")]) == 1
    error = capfd.readouterr().err
    assert error.startswith("scripts/detect: ")
    assert "is absent" in error
    assert not (tmp_path / "results").exists()
