"""Measuring with the peer harness that lies beside the repository (`../shared/bench`), peers in the same run."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import floor, processes, product

HARNESS = Path(__file__).resolve().parents[2] / "shared" / "bench"
PEERS = ("postfix", "haraka", "postfix-rspamd", "haraka-full")
CELLS = ("4k c20 many", "50k c20 many", "1m c20 many", "4k c1 many", "4k c20 one")


def missing(peers_dir: Path) -> str | None:
    """What keeps the harness from running, in words; None when it can. Builds the load generator if it is not there."""
    if not (HARNESS / "bench.py").is_file():
        return f"the peer harness is not at {HARNESS}"
    if not shutil.which("smtp-sink"):
        return "smtp-sink is missing (Debian package postfix)"
    if not (peers_dir / "loadgen").is_file():
        if not shutil.which("gcc"):
            return "gcc is missing, which builds the harness's load generator"
        peers_dir.mkdir(parents=True, exist_ok=True)
        source, program = HARNESS / "loadgen.c", peers_dir / "loadgen"
        subprocess.run(["gcc", "-O2", "-Wno-format-truncation", "-o", program, source], check=True)
    if not any((peers_dir / "bodies").glob("4k-*.body")):
        subprocess.run([sys.executable, HARNESS / "mkbodies.py", peers_dir / "bodies"], check=True)
    return None


def missing_peer(name: str, peers_dir: Path) -> str | None:
    """What a peer needs and has not got, in words; None when it can run."""
    for part, there in (
        ("postfix", shutil.which("postfix")),
        ("rspamd", shutil.which("rspamd")),
        ("haraka", (peers_dir / "haraka/node_modules/.bin/haraka").exists()),
    ):
        wanted = part in name or (part == "rspamd" and name == "haraka-full")
        if wanted and not there:
            return f"{part} is not installed; {HARNESS}/setup.sh with PEERS_DIR={peers_dir} installs the peers"
    return None


def _load(peers_dir: Path) -> tuple[ModuleType, ModuleType]:
    """The harness's own modules; they read their folders from the environment when they are imported."""
    os.environ["PEERS_DIR"] = str(peers_dir)
    if str(HARNESS) not in sys.path:
        sys.path.insert(0, str(HARNESS))
    # The folder may be one that cannot be written.
    sys.dont_write_bytecode = True
    bench = importlib.import_module("bench")
    # The harness counts each root's whole tree; our supervisor is the root of all parts, which would count twice.
    bench.trees = processes.disjoint_trees  # type: ignore[attr-defined]
    return bench, importlib.import_module("peers")


def measure_ours(options: Namespace, cells: list[str]) -> list[dict[str, Any]]:
    """Run the product before the harness's sink through `cells`; results as the harness writes them."""
    bench, peers = _load(options.peers_dir)
    wanted = [cell for name in cells for cell in bench.CELLS if bench.cell_name(cell) == name]
    group = peers.Peers()
    try:
        sink = group.sink()
        next_hop = peers.PORTS["SINK"]
        results = []
        for name, variant in product.VARIANTS.items():
            with (
                tempfile.TemporaryDirectory(prefix="outbound-guard-bench-") as folder,
                product.running(Path(folder), next_hop, variant) as ours,
            ):
                results += _measure(bench, sink, name, ours.port, ours.parts, wanted, options)
        with floor.running(next_hop, os.cpu_count() or 1) as (port, parts):
            return results + _measure(bench, sink, floor.NAME, port, parts, wanted, options)
    finally:
        group.stop()


def _measure(
    bench: ModuleType, sink: int, name: str, port: int, parts: dict[str, int], wanted: list[Any], options: Namespace
) -> list[dict[str, Any]]:
    """Results of the cells, each `options.runs` times, of what listens at `port` and consists of these processes."""
    arguments = Namespace(users=1000, auth=None, pipeline=False, quiet=options.quiet)
    results: list[dict[str, Any]] = []
    lock = bench.BenchLock()
    lock.take()
    bench.one(port, parts, sink, ("4k", 20, 0), arguments, 1.0)
    for run in range(options.runs):
        for cell in wanted:
            lock.take()
            result = bench.one(port, parts, sink, cell, arguments, options.seconds)
            result["cpu"] = product.by_part(result["cpu"])
            result["rss"] = product.by_part(result["rss"])
            results.append({**result, "run": run, "target": name})
            print(_line(name, result), file=sys.stderr, flush=True)
    return results


def measure_peer(name: str, options: Namespace, cells: list[str]) -> list[dict[str, Any]]:
    """Run a peer through `cells` with the harness's own program. A peer that fails is said and left out."""
    out = options.results / "peers"
    command = [sys.executable, "-B", str(HARNESS / "bench.py"), name, "--runs", str(options.runs), "--out", str(out)]
    command += ["--seconds", str(options.seconds), "--quiet", str(options.quiet), "--cells", ",".join(cells)]
    environment = {**os.environ, "PEERS_DIR": str(options.peers_dir)}
    process = subprocess.Popen(command, stdout=sys.stderr, env=environment)
    try:
        failed = process.wait()
    except BaseException:
        # The harness must stop its peers itself: it is told, and waited for.
        process.terminate()
        process.wait()
        raise
    if failed:
        print(f"scripts/bench: {name} failed", file=sys.stderr)
        return []
    return [{**result, "target": name} for result in json.loads((out / f"{name}.json").read_text())["results"]]


def _line(name: str, result: dict[str, Any]) -> str:
    parts = ", ".join(f"{part} {cpu:.3f}" for part, cpu in result["cpu"].items())
    return (
        f"{name:<32} {result['cell']:<13} {result['rate']:8.1f} msg/s  cpu {result['cpu_total']:.3f} ms/msg"
        f" ({parts})  p50 {result['p50']:.2f} p99 {result['p99']:.2f} ms  others {100 * result['others']:.0f}%"
    )
