"""What the edge holds: many idle sessions, large messages at once, and mail that is held for a decision.

    python -m benchmarks.edge [--which idle,large,held] [--sessions N]

- `idle`: so many sessions (10,000) have said EHLO and wait; beside them one sends message after message. What a waiting
  session takes of the relays' memory, and how long the one waits for the answer to the end of its data.
- `large`: 20 clients send a message of 25 MB each at the same time. The most memory that the product's processes take
  together, twenty looks a second.
- `held`: a limit holds every message of 4 kB from 20 sessions, so each is fsynced before it is answered. Messages
  accepted a second, and CPU-ms a message of all processes.

The next hop is Postfix's smtp-sink. Memory is the proportional set size: a page that processes share counts once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import processes
from tests.product import LENIENT, Product

_MORE = "[limits]\nconnections_per_address = 10000\n"
_HELD = '[limit]\naction = "hold"\n[limit.account]\nmessages_per_day = 1\n'
_LARGE, _CLIENTS = 25 * 1024 * 1024, 20
_MESSAGES = 3000
_PER_ADDRESS = 500
"""Sessions from one of the client's addresses."""


def main() -> int:
    """Measure what the command line names; figures on standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=__doc__.partition("\n")[0])
    parser.add_argument("--which", default="idle,large,held")
    parser.add_argument("--sessions", type=int, default=10_000)
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    for name in ("smtp-sink", "smtp-source"):
        if not shutil.which(name):
            print(f"benchmarks.edge: {name} is missing (Debian package postfix)", file=sys.stderr)
            return 1
    print(f"load of the machine at the start: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    measures: dict[str, tuple[str, Callable[[Product], str]]] = {
        "idle": (LENIENT, lambda product: _idle(product, options.sessions)),
        "large": (LENIENT, _large),
        "held": (_HELD, _held),
    }
    for name in options.which.split(","):
        policy, measure = measures[name]
        with _running(policy) as product:
            print(f"{name}: {measure(product)}", flush=True)
    return 0


@contextmanager
def _running(policy: str) -> Iterator[Product]:
    """The product before a sink, after some first messages."""
    with tempfile.TemporaryDirectory(prefix="edge-") as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
        free.close()
        sink = subprocess.Popen(["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "1000"])
        try:
            with Product.made(Path(folder), smarthosts=[f"127.0.0.1:{port}"], policy=policy, more=_MORE) as product:
                _source(product, 200, 4000)
                yield product
        finally:
            sink.terminate()
            sink.wait()


def _source(product: Product, messages: int, size: int) -> None:
    command = ["smtp-source", "-s", str(_CLIENTS), "-m", str(messages), "-l", str(size), "-d", "-f", "a@customer.test"]
    subprocess.run([*command, "-t", "b@there.test", product.address], check=True)


def _relays(product: Product) -> list[int]:
    return [pid for name, pid in product.processes().items() if name.startswith("relay")]


def _idle(product: Product, number: int) -> str:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = processes.pss_mb(_relays(product))
    waits, after = asyncio.run(_beside(product, number))
    return (
        f"{number} sessions: {(after - before) * 1e6 / 1024 / number:.1f} KiB each, the relays {after:.0f} MB after "
        f"{before:.0f}; beside them {len(waits)} messages, answered in {1000 * statistics.median(waits):.1f} ms in the "
        f"median, {1000 * max(waits):.0f} at most"
    )


async def _beside(product: Product, number: int) -> tuple[list[float], float]:
    """Seconds that answers took beside `number` waiting sessions, and MB of the relays then."""
    host, _, port = product.address.rpartition(":")

    async def greet(at: int) -> asyncio.StreamWriter:
        source = f"127.1.{at // _PER_ADDRESS}.1"
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
        await reader.readline()
        writer.write(b"EHLO idle.test\r\n")
        while not (await reader.readline()).startswith(b"250 "):
            pass
        return writer

    waiting = []
    for first in range(0, number, 100):
        waiting += await asyncio.gather(*(greet(at) for at in range(first, min(first + 100, number))))
    waits = await asyncio.to_thread(_send, host, int(port))
    memory = processes.pss_mb(_relays(product))
    for writer in waiting:
        writer.write(b"QUIT\r\n")
        writer.close()
    return waits, memory


def _send(host: str, port: int) -> list[float]:
    waits = []
    with smtplib.SMTP(host, port) as client:
        client.ehlo("working.test")
        for number in range(200):
            client.mail("a@customer.test")
            client.rcpt("b@there.test")
            client.docmd("DATA")
            begun = time.monotonic()
            client.send(f"Subject: number {number}\r\n\r\n".encode() + b"text\r\n" * 600 + b".\r\n")
            code, text = client.getreply()
            if code != 250:
                raise SystemExit(f"benchmarks.edge: {code} {text!r}")
            waits.append(time.monotonic() - begun)
    return waits


def _large(product: Product) -> str:
    before = most = processes.pss_mb(processes.tree(product.pid))
    command = ["smtp-source", "-s", str(_CLIENTS), "-m", str(_CLIENTS), "-l", str(_LARGE), "-f", "a@customer.test"]
    begun = time.monotonic()
    with subprocess.Popen([*command, "-t", "b@there.test", product.address]) as client:
        while client.poll() is None:
            most = max(most, processes.pss_mb(processes.tree(product.pid)))
            time.sleep(0.05)
    if client.returncode:
        raise SystemExit("benchmarks.edge: a large message was not taken")
    took = time.monotonic() - begun
    return f"{_CLIENTS} messages of 25 MB in {took:.1f} s: all processes {most:.0f} MB at most, {before:.0f} before"


def _held(product: Product) -> str:
    held = product.data / "spool" / "held"
    there, cpu, begun = len(os.listdir(held)), processes.cpu_ms(processes.tree(product.pid)), time.monotonic()
    _source(product, _MESSAGES, 4000)
    took = time.monotonic() - begun
    time.sleep(2)  # What is written behind (ledger, memory) belongs to it.
    spent = processes.cpu_ms(processes.tree(product.pid)) - cpu
    found = len(os.listdir(held)) - there
    return f"{found} of {_MESSAGES} held, {_MESSAGES / took:.0f} accepted a second, {spent / _MESSAGES:.2f} CPU-ms each"


if __name__ == "__main__":
    sys.exit(main())
