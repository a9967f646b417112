"""scripts/detect: how well senders are judged, on labelled traffic: traces made, replayed, scored, and one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import detection_lab as lab
from benchmarks import detection_left_out as left_out
from benchmarks import detection_report as report
from outbound_guard.config import Policy
from outbound_guard.signals import CHECKS

RESULTS = Path(__file__).resolve().parent / "results" / "detection"
SHIFTS = (-1.0, 1.0)
"""Nats by which the thresholds are moved, to choose among when a kind of traffic is left out."""


def main(argv: list[str] | None = None) -> int:
    """Measure what the command line asks for; markdown on standard output, progress on standard error."""
    options = _arguments(argv)
    if cause := lab.missing():
        print(f"scripts/detect: {cause}", file=sys.stderr)
        return 1
    options.results.mkdir(parents=True, exist_ok=True)
    model = options.model or lab.half_model(options.results)
    traces = {seed: lab.trace(options.results, options.size, seed, "trace") for seed in options.seeds}
    scores = {seed: _scored(options, "all", trace, model, "") for seed, trace in traces.items()}
    print(f"Size {options.size}, mode enforce, packaged policy.\n")
    print(report.by_seed(scores))
    if options.ablation:
        without: dict[str, dict[str, Any]] = {}
        for name in (check.NAME for check in CHECKS):
            policy = f'[signal.{name}]\nmode = "off"\n'
            without[name] = {
                seed: _scored(options, f"without-{name}", trace, model, policy) for seed, trace in traces.items()
            }
        print(report.ablation(scores, without))
    if options.leave_one_out:
        shifted: dict[float, dict[str, Any]] = {0.0: scores}
        for shift in SHIFTS:
            shifted[shift] = {
                seed: _scored(options, f"thresholds{shift:+g}", trace, model, _thresholds(shift))
                for seed, trace in traces.items()
            }
        print(left_out.table(shifted))
    return 0


def _thresholds(shift: float) -> str:
    """A policy whose thresholds are the packaged ones, moved by `shift` nats."""
    packaged = msgspec.structs.asdict(Policy().threshold)
    lines = [f"{name} = {nats + shift if name != 'watch' else nats}" for name, nats in packaged.items()]
    return "\n".join(["[threshold]", *lines, ""])


def _scored(options: argparse.Namespace, name: str, trace: Path, model: Path, policy: str) -> dict[str, Any]:
    """The score of one replay; it and the run are kept among the results."""
    place = f"{options.results}/{trace.name}-{name}"
    print(f"scripts/detect: {trace.name}, {name}", file=sys.stderr)
    policy_file = None
    if policy:
        policy_file = Path(f"{place}.policy.toml")
        policy_file.write_text(policy)
    run = lab.replay(trace, Path(f"{place}.run.jsonl"), model, policy_file)
    return lab.score(trace, run, Path(f"{place}.score.json"))


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/detect", description=__doc__)
    parser.add_argument("--size", default="small", choices=("tiny", "small", "full"), help="full: the real figures")
    parser.add_argument(
        "--seeds", default="1,2,3", type=lambda text: text.split(","), help="comma list; default: 1,2,3"
    )
    parser.add_argument("--ablation", action="store_true", help="again without each signal: what would be lost")
    parser.add_argument(
        "--leave-one-out", action="store_true", help="thresholds chosen on all kinds of traffic but one, for each kind"
    )
    parser.add_argument(
        "--model", type=Path, help="this content model, instead of one trained on what no trace takes its texts from"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for traces, models, runs and scores")
    options = parser.parse_args(argv)
    options.results = options.results.absolute()
    if options.model:
        options.model = options.model.absolute()
    return options


if __name__ == "__main__":
    raise SystemExit(main())
