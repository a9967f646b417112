"""The queue with 100,000 messages, and after a long outage of the next hop.

    python -m benchmarks.queue make --directory DIR [--number N]          a spool with so many queued messages
    python -m benchmarks.queue start --directory DIR                      how soon it delivers, what memory it takes
    python -m benchmarks.queue outage [--seconds S] [--rate R]            the next hop is away for S seconds, at R msg/s

The next hop is Postfix's smtp-sink. `start` uses the mail up. `outage` sends from 20 accounts all the while, and tells
the time until the queue is empty once the next hop is back, and what was lost or came twice.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import re
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import processes
from outbound_guard import durable
from outbound_guard.clock import SystemClock
from outbound_guard.mail import Envelope, new_id
from outbound_guard.spool import Entry, Spool
from outbound_guard.spool.entry import encode_entry
from tests.product import LENIENT, Product, until

_CONFIGURATION = """
[server]
hostname = "guard.test"
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.0/8"]
[delivery]
mode = "smarthost"
[[delivery.pool]]
smarthosts = ["127.0.0.1:{port}"]
[policy]
file = "policy.toml"
[spool]
free_bytes = 1000000
[console]
address = "127.0.0.1:0"
[metrics]
address = "127.0.0.1:0"
"""
_ID = re.compile(rb"^X-Bench: (\d+)\r?$", re.M)
_SENDERS = 4


def main() -> int:
    """Do what the command line says; figures on standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(required=True)
    for name, verb in (("make", make), ("start", start)):
        one = verbs.add_parser(name)
        one.add_argument("--directory", type=Path, required=True)
        one.add_argument("--number", type=int, default=100_000, help="of messages; start: until so many are delivered")
        one.set_defaults(verb=verb)
    away = verbs.add_parser("outage")
    away.add_argument("--seconds", type=float, default=600.0)
    away.add_argument("--rate", type=float, default=50.0, help="messages a second")
    away.set_defaults(verb=outage)
    options = parser.parse_args()
    if not shutil.which("smtp-sink", path="/usr/sbin:/usr/bin"):
        print("benchmarks.queue: smtp-sink is missing (Debian package postfix)", file=sys.stderr)
        return 1
    print(f"load of the machine at the start: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    options.verb(options)
    return 0


def make(options: argparse.Namespace) -> None:
    """Queued messages of 4 kB, from 500 accounts to 2,000 domains; every one has been tried once."""
    rng = random.Random(1)
    spool = Spool(options.directory / "data" / "spool", SystemClock(), 0)
    temporary = options.directory / "data" / "spool" / "tmp"
    now = time.time()
    for number in range(options.number):
        domain = f"customer{min(int(rng.expovariate(0.01)), 499)}.test"
        sender = f"user{rng.randrange(5)}@{domain}"
        content = _message(number, sender)
        entry = Entry(
            id=new_id(now - rng.random() * 3600),
            received=now - rng.random() * 3600,
            envelope=Envelope(sender, (f"r{number}@domain{min(int(rng.expovariate(0.005)), 1999)}.test",)),
            account=domain,
            sender=sender,
            subject=f"message {number}",
            size=len(content),
            due=now,
            attempts=1,
            bounce_to=sender,
            meta={"kind": "mailbox", "fingerprint": "1f"},
        )
        durable.write(
            spool.files.path(entry.id, "queue"), (encode_entry(entry), content), temporary=temporary, sync=False
        )
    spool.close()
    os.sync()
    print(f"{options.number} messages in {options.directory}")


def start(options: argparse.Namespace) -> None:
    """From the start of the product to the first message delivered, and to the last."""
    with _sink() as sink:
        product = _product(options.directory, sink.port)
        queue = product.data / "spool" / "queue"
        before = len(os.listdir(queue))
        sink.start()
        begun = time.monotonic()
        with product:
            serving = time.monotonic() - begun
            until(lambda: sink.files(), "the first one", 120.0)
            first = time.monotonic() - begun
            delivery = product.processes()["delivery-0"]
            number = min(before, options.number)
            until(lambda: len(os.listdir(queue)) <= before - number, f"{number} of them", 3600.0)
            took = time.monotonic() - begun
            cpu = processes.cpu_ms([delivery])
            earliest = min((sink.folder / name).stat().st_mtime for name in sink.files())
            print(
                f"{before} queued: the product serves after {serving:.1f} s; first delivered {first:.1f} s after its "
                f"start and {earliest - _started(delivery):.1f} s after that of the delivery process; {number} after "
                f"{took:.0f} s ({number / (took - first):.0f} a second); the delivery process: {cpu / number:.2f} "
                f"CPU-ms a message, {_most_memory(delivery):.0f} MB at most"
            )


def outage(options: argparse.Namespace) -> None:
    """The next hop is away, mail goes on, it comes back."""
    folder = Path(tempfile.mkdtemp(prefix="queue-outage-"))
    try:
        with _sink() as sink, _product(folder, sink.port) as product:
            flow = _Flow(product.address, options.rate)
            time.sleep(options.seconds)
            queue, incoming = product.data / "spool" / "queue", product.data / "spool" / "incoming"
            ids = {*os.listdir(queue), *os.listdir(incoming)}
            waiting = len(ids)
            delivery = product.processes()["delivery-0"]
            cpu, before = processes.cpu_ms([delivery]), flow.sent
            sink.start()
            back = time.monotonic()
            until(sink.files, "the first one", 120.0)
            first = time.monotonic() - back
            # Nothing is left of what waited when it came back; new mail goes on.
            until(lambda: ids.isdisjoint(os.listdir(incoming)), "all is taken over", 3600.0)
            until(lambda: ids.isdisjoint(os.listdir(queue)), "what waited is delivered", 3600.0)
            drained = time.monotonic() - back
            spent = processes.cpu_ms([delivery]) - cpu
            during = flow.sent - before
            flow.end()
            until(lambda: not os.listdir(queue) and not os.listdir(incoming), "all is delivered", 600.0)
            print(
                f"{options.seconds:.0f} s at {options.rate:.0f} msg/s: {waiting} waited; back: the first after "
                f"{first:.1f} s, drained in {drained:.1f} s ({waiting / drained:.0f} a second beside {during} new); "
                f"the delivery process: {spent / max(waiting, 1):.2f} CPU-ms a message meanwhile, {cpu:.0f} CPU-ms "
                f"before, {_most_memory(delivery):.0f} MB at most"
            )
            arrived = collections.Counter(int(number) for text in sink.texts() for number in _ID.findall(text))
            lost = flow.accepted - arrived.keys()
            twice = sum(times - 1 for times in arrived.values())
            print(f"{len(flow.accepted)} accepted, {flow.refused} refused, {len(lost)} lost, {twice} duplicated")
    finally:
        shutil.rmtree(folder)


class _Sink:
    """smtp-sink, which writes every message into a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o777)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["smtp-sink", "-u", "nobody", "-m", "1000", "-d", "%H%M%S.", f"127.0.0.1:{self.port}", "1000"]
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self._process = subprocess.Popen(command, cwd=self.folder, env=environment)

    def files(self) -> list[str]:
        return os.listdir(self.folder)

    def texts(self) -> Iterator[bytes]:
        for name in self.files():
            yield (self.folder / name).read_bytes()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


@contextmanager
def _sink() -> Iterator[_Sink]:
    folder = Path(tempfile.mkdtemp(prefix="queue-sink-"))
    sink = _Sink(folder)
    try:
        yield sink
    finally:
        sink.stop()
        shutil.rmtree(folder)


class _Flow:
    """Mail at an even rate; a message's number stands in its header."""

    def __init__(self, address: str, rate: float) -> None:
        self.accepted: set[int] = set()
        self.refused = 0
        self._host, _, port = address.rpartition(":")
        self._port, self._rate = int(port), rate
        self._ending = False
        self._threads = [threading.Thread(target=self._send, args=(place,)) for place in range(_SENDERS)]
        for thread in self._threads:
            thread.start()

    @property
    def sent(self) -> int:
        return len(self.accepted)

    def end(self) -> None:
        self._ending = True
        for thread in self._threads:
            thread.join()

    def _send(self, place: int) -> None:
        begun, number = time.monotonic(), 0
        with smtplib.SMTP(self._host, self._port, "load.test", 60) as client:
            while not self._ending:
                time.sleep(max(0.0, begun + number * _SENDERS / self._rate - time.monotonic()))
                key = number * _SENDERS + place
                number += 1
                sender = f"user@customer{key % 20}.test"
                try:
                    client.sendmail(sender, [f"r{key}@there.test"], _message(key, sender))
                    self.accepted.add(key)
                except smtplib.SMTPResponseException:
                    self.refused += 1


def _message(number: int, sender: str) -> bytes:
    line = b"A line of text, as there are many in the letters that people write to each other.\r\n"
    head = f"From: <{sender}>\r\nTo: <r{number}@there.test>\r\nSubject: message {number}\r\nX-Bench: {number}\r\n\r\n"
    return head.encode() + line * 47


def _product(folder: Path, port: int) -> Product:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.toml").write_text(LENIENT)
    (folder / "guard.toml").write_text(_CONFIGURATION.format(port=port))
    return Product(folder / "guard.toml")


def _started(pid: int) -> float:
    """When a process was started, in unix seconds."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")


def _most_memory(pid: int) -> float:
    """Resident memory at its highest, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


if __name__ == "__main__":
    raise SystemExit(main())
