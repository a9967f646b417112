"""scripts/bench: what a message costs, beside the peers, and how fast recorded traffic is replayed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import harness, plain, replay, report

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Measure what the command line asks for; print markdown on standard output, progress on standard error."""
    options = _arguments()
    # Otherwise what was started would not be stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.results.mkdir(parents=True, exist_ok=True)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}\n")
    done = True
    if options.what in ("all", "relay"):
        done = _relay(options)
    if options.what in ("all", "replay"):
        done = _replay(options) and done
    return 0 if done else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=("all", "relay", "replay"))
    parser.add_argument("--runs", type=int, default=3, help="runs of each cell; medians are printed")
    parser.add_argument("--seconds", type=float, default=2.5, help="load time of one run")
    parser.add_argument("--quiet", type=float, default=3.0, help="seconds to wait for a quiet machine before each run")
    parser.add_argument("--cells", default=",".join(harness.CELLS), help="comma list; default: %(default)s")
    parser.add_argument("--peers", default=",".join(harness.PEERS), help="comma list, or none; default: %(default)s")
    parser.add_argument("--size", default="small", choices=("tiny", "small", "full"), help="of the replayed trace")
    parser.add_argument("--seed", default="1", help="of the replayed trace")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args()
    options.results = options.results.absolute()
    options.peers_dir = Path(os.environ.get("PEERS_DIR", options.results / "peers-dir")).absolute()
    return options


def _relay(options: argparse.Namespace) -> bool:
    cells = [cell.strip() for cell in options.cells.split(",")]
    unknown = [cell for cell in cells if cell not in harness.CELLS]
    if unknown:
        print(f"scripts/bench: no such cell: {', '.join(unknown)}", file=sys.stderr)
        return False
    with suppress(OSError):
        # Before other work on the machine, as the harness does for the peers; only root may.
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    results: list[dict[str, Any]]
    if (cause := harness.missing(options.peers_dir)) is None:
        results = harness.measure_ours(options, cells)
        for name in () if options.peers == "none" else options.peers.split(","):
            if lacks := harness.missing_peer(name, options.peers_dir):
                print(f"scripts/bench: {name} is left out: {lacks}", file=sys.stderr)
            else:
                results += harness.measure_peer(name, options, cells)
    elif (lacks := plain.missing()) is None:
        print(f"scripts/bench: ours only, without peers and latencies: {cause}", file=sys.stderr)
        results = plain.measure_ours(options, cells)
    else:
        print(f"scripts/bench: cannot measure: {cause}; {lacks}", file=sys.stderr)
        return False
    (options.results / "relay.json").write_text(json.dumps(results, indent=1))
    results.sort(key=lambda result: cells.index(result["cell"]))
    print(report.relay_table(results))
    return True


def _replay(options: argparse.Namespace) -> bool:
    if cause := replay.missing():
        print(f"scripts/bench: replay is left out: {cause}", file=sys.stderr)
        return False
    result = replay.measure(options)
    (options.results / "replay.json").write_text(json.dumps(result, indent=1))
    print(report.replay_lines(result))
    return True


if __name__ == "__main__":
    raise SystemExit(main())
