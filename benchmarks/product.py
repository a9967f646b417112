"""Outbound Guard as it is measured: the whole product, started as an operator starts it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks import processes

GUARD = Path(sys.executable).with_name("outbound-guard")
_CONFIG = """\
[server]
hostname = "guard.example.net"
data_dir = "data"
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.0/8"]
[delivery]
mode = "smarthost"
[[delivery.pool]]
smarthosts = ["127.0.0.1:{sink}"]
tls = "none"
[policy]
mode = "observe"
file = "policy.toml"
model_texts = {texts}
[console]
address = "127.0.0.1:0"
[metrics]
address = "127.0.0.1:0"
"""


VARIANTS = {
    "outbound-guard": ("", 4096),
    "outbound-guard, every text read": ("", 0),
    "outbound-guard, no content model": ('[signal.content]\nmode = "off"\n', 4096),
}
"""What is measured, by name: the policy file of each, and `model_texts`. The load has few texts, so the first shows
what copies of mailings cost, the second what mail costs of which no two are alike; the third asks only the signals that
need no training."""


class Running(msgspec.Struct, frozen=True):
    """A started product: the port that takes mail, and the process of each part."""

    port: int
    pid: int
    parts: dict[str, int]
    """Name of the part -> pid; the supervisor is what remains of the tree."""


@contextlib.contextmanager
def running(folder: Path, sink_port: int, variant: tuple[str, int]) -> Iterator[Running]:
    """Start the product in `folder` with `sink_port` as its smarthost, as one of VARIANTS; stop it afterwards.

    Raises RuntimeError.
    """
    policy, texts = variant
    config = folder / "outbound-guard.toml"
    (folder / "policy.toml").write_text(policy)
    config.write_text(_CONFIG.format(sink=sink_port, texts=texts))
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [GUARD, "serve", "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        listeners = _await_ready(process, folder)
        yield Running(int(listeners[0].rpartition(":")[2]), process.pid, _parts(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in processes.tree(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def _await_ready(process: subprocess.Popen[bytes], folder: Path, seconds: float = 60.0) -> list[str]:
    """The listeners' addresses, once the product says that it is ready."""
    end = time.monotonic() + seconds
    log = folder / "serve.log"
    while time.monotonic() < end and process.poll() is None:
        if any(line.startswith("ready:") for line in log.read_text(errors="replace").splitlines()):
            return list(json.loads((folder / "data/run/addresses.json").read_text())["listeners"])
        time.sleep(0.05)
    raise RuntimeError("serve did not become ready:\n" + log.read_text(errors="replace")[-2000:])


def _parts(root: int) -> dict[str, int]:
    """The processes below the supervisor by what they do, numbered where there are several of a kind."""
    parts: dict[str, int] = {}
    for pid in sorted(processes.tree(root)):
        words = processes.command(pid)
        if pid == root:
            name = "supervisor"
        elif words and ("redis-server" in words[0] or "valkey-server" in words[0]):
            name = "state"
        else:
            name = next((word for word in ("relay", "delivery", "console") if word in words), "other")
        number = sum(part.split("-")[0] == name for part in parts) + 1
        parts[f"{name}-{number}"] = pid
    return parts


def by_part(values: dict[str, float]) -> dict[str, float]:
    """Sums of numbered parts: {"relay-1": 0.1, "relay-2": 0.2} -> {"relay": 0.3}."""
    sums: dict[str, float] = {}
    for name, value in values.items():
        part = name.rpartition("-")[0] if name.rpartition("-")[2].isdigit() else name
        sums[part] = sums.get(part, 0.0) + value
    return sums
