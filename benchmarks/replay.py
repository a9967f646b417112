"""The speed of `outbound-guard replay --stdio`, driven by tracelab over a generated trace."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks import processes, product

TRAFFIC = Path(__file__).resolve().parents[2] / "shared" / "traffic"
CORPUS = TRAFFIC.parent / "corpus"


def missing() -> str | None:
    """What keeps the replay from being measured, in words; None when it can be."""
    return None if (TRAFFIC / "tracelab/driver.py").is_file() else f"the traffic laboratory is not at {TRAFFIC}"


class _Timed:
    """The driver's pipe to the relay, with a count of events and transactions."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self.pid: int = pipe.p.pid
        self.events = self.transactions = 0
        self.since = self.until = self.cpu_since = self.cpu_until = 0.0

    def handle(self, event: dict[str, Any]) -> Any:
        """Pass one event on. The clock runs from the answer to `start` to the answer to `end`."""
        if event["ev"] == "end":
            self.cpu_until = processes.cpu_ms(processes.tree(self.pid))
        answer = self._pipe.handle(event)
        self.events += 1
        self.transactions += event["ev"] == "tx"
        self.until = time.monotonic()
        if event["ev"] == "start":
            self.since, self.cpu_since = self.until, processes.cpu_ms(processes.tree(self.pid))
        return answer


def measure(options: Namespace) -> dict[str, Any]:
    """Replay one trace. Returns transactions per second (retries count as transactions) and what belongs to it."""
    trace = options.results / f"trace-{options.size}-{options.seed}"
    if not (trace / "truth.json").is_file():
        command = [sys.executable, "-B", "-m", "tracelab.generate", "--corpus", str(CORPUS), "--out", str(trace)]
        command += ["--size", options.size, "--seed", str(options.seed)]
        subprocess.run(command, cwd=TRAFFIC, check=True, stdout=subprocess.DEVNULL)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(TRAFFIC))
    driver = importlib.import_module("tracelab.driver")
    began = time.monotonic()
    pipe = driver.Pipe([str(product.GUARD), "replay", "--stdio"])
    relay = _Timed(pipe)
    try:
        driver.run(str(trace), relay, str(options.results / "replay.jsonl"))
    finally:
        pipe.close()
    return {
        "size": options.size,
        "seed": options.seed,
        "transactions": relay.transactions,
        "events": relay.events,
        "start": relay.since - began,
        "per_second": relay.transactions / (relay.until - relay.since),
        "cpu_ms": (relay.cpu_until - relay.cpu_since) / relay.transactions,
    }
