"""Measuring without the harness: ours alone, with smtp-source and smtp-sink, which Postfix brings along."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import processes, product

_SIZES = {"4k": 4_000, "50k": 50_000, "1m": 1_000_000}
_MESSAGES = {"4k": 5_000, "50k": 1_500, "1m": 100}


def missing() -> str | None:
    """What is not installed, in words; None when everything is there."""
    gone = [name for name in ("smtp-source", "smtp-sink") if not shutil.which(name)]
    return f"{' and '.join(gone)} missing (Debian package postfix)" if gone else None


def measure_ours(options: Namespace, cells: list[str]) -> list[dict[str, Any]]:
    """Run the product before an smtp-sink through `cells`. smtp-source knows no latencies: p50 and p99 are None."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="outbound-guard-bench-") as folder, sink() as port:
        for number, (name, variant) in enumerate(product.VARIANTS.items()):
            home = Path(folder, str(number))
            home.mkdir()
            with product.running(home, port, variant) as ours:
                _one(ours, "4k c20 many", 500)
                for run in range(options.runs):
                    for cell in cells:
                        result = _one(ours, cell, _MESSAGES[cell.split()[0]])
                        results.append({**result, "run": run, "target": name})
                        print(f"{name}, {cell}: cpu {result['cpu_total']:.3f} ms/msg", file=sys.stderr, flush=True)
    return results


@contextlib.contextmanager
def sink() -> Iterator[int]:
    """An smtp-sink as next hop: its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    # As root smtp-sink asks for a user to become.
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    process = subprocess.Popen(["smtp-sink", *user, "-m", "1000", f"127.0.0.1:{port}", "1000"])
    try:
        _await_port(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _await_port(port: int, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _one(ours: product.Running, cell: str, messages: int) -> dict[str, Any]:
    size, sessions, reuse = cell.split()
    command = ["smtp-source", "-s", sessions[1:], "-m", str(messages), "-l", str(_SIZES[size])]
    command += ["-d"] if reuse == "many" else []
    command += ["-f", "user1@customer1.example", "-t", "someone@elsewhere.example", f"127.0.0.1:{ours.port}"]
    before = {part: processes.cpu_ms(pids) for part, pids in processes.disjoint_trees(ours.parts).items()}
    started = time.monotonic()
    subprocess.run(command, check=True, timeout=300)
    wall = time.monotonic() - started
    # What is written behind (ledger, log) belongs to the messages too.
    time.sleep(1.0)
    trees = processes.disjoint_trees(ours.parts)
    cpu = {part: (processes.cpu_ms(pids) - before.get(part, 0.0)) / messages for part, pids in trees.items()}
    rss = {part: processes.rss_mb(pids) for part, pids in trees.items()}
    return {
        "cell": cell,
        "cpu": product.by_part(cpu),
        "cpu_total": sum(cpu.values()),
        "rate": messages / wall,
        "p50": None,
        "p99": None,
        "rss": product.by_part(rss),
        "rss_total": sum(rss.values()),
        "accepted": messages,
        "delivered": messages,
        "tempfail": 0,
        "permfail": 0,
        "connerr": 0,
        "unfinished": 0,
        "last_failure": "",
    }
