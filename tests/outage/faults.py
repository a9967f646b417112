"""One thing after another goes wrong while mail flows; then every single message is counted.

    python -m tests.outage.faults [--seconds S] [--times N] [NAME ...]     all of them, 60 s each, 100 restarts

For each fault: how many messages were answered meanwhile, after how many seconds mail went straight through again
without help, and which metric showed it. At the end nothing that was answered 250 may be lost or changed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from outbound_guard.state.embedded import socket_path
from tests.loadclient import Load, Mail, mail, reconcile
from tests.nexthop import NextHop
from tests.outage.chaos import POLICY, FlappingHop
from tests.outage.test_state_outage import Redis
from tests.product import Hops, Product, message, until

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
"""Debian package `faketime`: gives the product a clock that can be set."""
_DISK = "600m"
_REST = 0.1
"""Seconds that a sender rests after each message: at full speed the disk would be full long before its fault's turn."""
_LATEST = 180.0
"""Seconds until mail must go straight through again, and after the last fault until everything must have arrived."""


class House:
    """The product on a small disk of its own, two next hops, and ten senders."""

    def __init__(self, folder: Path, hops: Hops, seconds: float, times: int, more: str = "") -> None:
        self.hops, self.seconds, self.times = hops, seconds, times
        self.nexts = [FlappingHop(), FlappingHop()]
        for hop in self.nexts:
            hops.start(hop)
        self.clock = folder / "clock"
        self.clock.write_text("+0")
        self.product = Product.made(
            folder, smarthosts=[hop.address for hop in self.nexts], policy=POLICY, reply_seconds=5, more=more
        )
        self.load = Load(lambda: self.product.address, self._mail, senders=10)
        self._letters = random.Random(7)
        self._answer = ""
        self._asked = 0

    def _mail(self, key: str) -> Mail:
        rng = self._letters
        return mail(key, f"sender{rng.randrange(400)}@customer.test", [f"one-{key}@there.test"], 2000, rng)

    def lasting(self) -> None:
        """So long a fault lasts; at least so long that some mail meets it."""
        time.sleep(self.seconds)

    def straight(self) -> bool:
        """True if a message goes straight through now."""
        # Each time another sender: one that asks again and again is held for its volume, and would keep itself there.
        self._asked += 1
        try:
            with self.product.client() as client:
                sender = f"probe{self._asked}@probe.test"
                self._answer = client.submit(sender, ["probe@there.test"], message("probe"))
        except OSError as error:
            self._answer = repr(error)
        return "queued as TEST" in self._answer

    def told(self) -> str:
        """What was answered when a message last did not go straight through, and what the product said."""
        return f"{self._answer}\n{self.product.said()}"

    def hop(self, do: Callable[[NextHop], object]) -> None:
        """Do something to both next hops, in their own thread."""

        async def work() -> None:
            for hop in self.nexts:
                do(hop)

        self.hops.call(work())


Fault = Callable[[House], str]
"""Lets one thing go wrong for a while and says which metric showed it."""


def stopped(slot: str) -> Fault:
    """SIGSTOP, and SIGCONT half as long after it."""

    def fault(house: House) -> str:
        pid = house.product.processes()[slot]
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(house.seconds / 2)
            return "sessions" if slot != "state" else _seen(house, "state_up", 0)
        finally:
            os.kill(pid, signal.SIGCONT)

    return fault


def terminated(house: House) -> str:
    """SIGTERM and a new start, again and again."""
    for _ in range(house.times):
        assert house.product.stop() == 0, house.product.said()
        house.product.start()
    return "none: it is asked for"


def rolled(house: House) -> str:
    """A rolling restart."""
    before = house.product.said().count("rolling restart done")
    house.product.guard("restart")
    until(lambda: house.product.said().count("rolling restart done") > before, house.product.said, _LATEST)
    return "none: it is asked for"


def wiped(house: House) -> str:
    """The store hangs, and is empty afterwards."""
    seen = stopped("state")(house)
    with _redis(house) as ask:
        ask("FLUSHALL")
    return seen


def full(house: House) -> str:
    """Nothing is left on the disk, and the next hops are away for the first half, so that the spool is needed."""
    filler = house.product.data / "filler"
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(bytes(65_536)):
            pass
    try:
        house.hop(lambda hop: setattr(hop, "away", True))
        time.sleep(house.seconds / 2)
        house.hop(lambda hop: setattr(hop, "away", False))
        time.sleep(house.seconds / 2)
        return _seen(house, "journal_errors_total", 1)
    finally:
        house.hop(lambda hop: setattr(hop, "away", False))
        filler.unlink()


def away(house: House) -> str:
    """No next hop listens."""
    for hop in house.nexts:
        house.hops.call(hop.stop())
    try:
        house.lasting()
        return _seen(house, "next_hop_up", 0)
    finally:
        for hop in house.nexts:
            house.hops.call(hop.start())


def answering(place: str, say: str, metric: str) -> Fault:
    """The next hops answer so (NextHop.answer) at this place."""

    def fault(house: House) -> str:
        house.hop(lambda hop: hop.answer(place, say, times=None))
        try:
            house.lasting()
            return _seen(house, "next_hop_events_total", 1, event=metric)
        finally:
            house.hop(lambda hop: hop.forget())

    return fault


def flapping(house: House) -> str:
    """The next hops come and go each second."""
    end = time.monotonic() + house.seconds
    while time.monotonic() < end:
        house.hop(lambda hop: setattr(hop, "away", not hop.away))
        time.sleep(1.0)
    house.hop(lambda hop: setattr(hop, "away", False))
    return "next_hop_events_total"


def jumping(house: House) -> str:
    """The clock is set an hour forward, two hours back, and right again."""
    for by in ("+3600", "-3600", "+0"):
        house.clock.write_text(by)
        time.sleep(house.seconds / 3)
    return "none: times are read as they come"


FAULTS: dict[str, Fault] = {
    "relay-stopped": stopped("relay-0"),
    "delivery-stopped": stopped("delivery-0"),
    "console-stopped": stopped("console-0"),
    "state-wiped": wiped,
    "disk-full": full,
    "hop-away": away,
    "hop-stalled": answering("MAIL", NextHop.HANG, "timeout"),
    "hop-closing": answering(".", NextHop.CLOSE, "broken"),
    "hop-flapping": flapping,
    "clock-jumps": jumping,
    "rolling-restart": rolled,
    "restarts": terminated,
}


def _seen(house: House, name: str, value: float, **labels: str) -> str:
    """The metric, as soon as it has (a counter: has at least) this value."""

    def shown() -> bool:
        now = house.product.metric(name, **labels)
        return now >= value if name.endswith("_total") else now == value

    until(shown, lambda: (name, labels, house.product.said()))
    return f"{name} {house.product.metric(name, **labels):g}"


@contextlib.contextmanager
def _redis(house: House) -> Iterator[Callable[[str], bytes]]:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(60)
        asking.connect(str(socket_path(house.product.data)))

        def ask(command: str) -> bytes:
            asking.sendall(command.encode() + b"\r\n")
            return asking.recv(1024)

        yield ask


def run(house: House, names: list[str]) -> list[str]:
    """Every fault in its turn; what went wrong."""
    house.load.pause = _REST
    house.hops.call(house.load.start())
    try:
        for name in names:
            until(house.straight, house.told, _LATEST)
            before = len(house.load.answered)
            seen = FAULTS[name](house)
            ended = time.monotonic()
            until(house.straight, house.told, _LATEST)
            recovery = time.monotonic() - ended
            until(lambda: house.product.get("/readyz")[0] == 200, "all parts are there", _LATEST)
            answers = len(house.load.answered) - before
            print(f"{name:<18}{answers:>8} answered  {recovery:6.1f} s  {seen}", flush=True)
        answered = house.hops.call(house.load.finish(), _LATEST).values()
    except BaseException:
        house.hops.call(house.load.cancel())
        raise
    spool = house.product.data / "spool"
    left = [spool / "incoming", spool / "queue", spool / "held"]
    until(lambda: not any(any(state.iterdir()) for state in left), "all is delivered", _LATEST)
    account = reconcile(answered, [message for hop in house.nexts for message in hop.messages])
    wrong = [f"lost: {one}" for one in account.lost] + [f"corrupted: {one}" for one in account.corrupted]
    wrong += [f"unforeseen: {house.product.said()}"] if "Traceback" in house.product.said() else []
    print(
        f"{account.messages} messages, {len(account.lost)} lost, {len(account.corrupted)} corrupted, "
        f"{account.duplicated.total()} duplicated"
    )
    return wrong


@contextlib.contextmanager
def small_disk(folder: Path, size: str = _DISK) -> Iterator[bool]:
    """A file system of its own as data_dir, if it can be mounted."""
    disk = folder / "data"
    disk.mkdir(mode=0o700)
    options = f"size={size},mode=0700"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", disk], capture_output=True)
    try:
        yield not mounted.returncode
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", disk], check=True)


def main() -> int:
    """The command line; the exit code says whether all is well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FAULTS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=int, default=100)
    arguments = parser.parse_args()
    names = arguments.names or list(FAULTS)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as name, small_disk(Path(name)) as mounted, Hops() as hops:
        if not mounted and "disk-full" in names:
            print("disk-full          left out: no file system can be mounted here")
        rest = [one for one in names if one != "clock-jumps" and (mounted or one != "disk-full")]
        house = House(Path(name), hops, arguments.seconds, arguments.times)
        with house.product:
            wrong += run(house, rest)
    if "clock-jumps" in names and FAKETIME.exists():
        with tempfile.TemporaryDirectory(prefix="faults-") as name, Hops() as hops:
            # A store of its own keeps the true time: it does not start with that library.
            redis = Redis(Path(name))
            house = House(Path(name), hops, arguments.seconds, 0, f'[state]\nurl = "redis://127.0.0.1:{redis.port}"\n')
            house.product.environment = {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(house.clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            try:
                with house.product:
                    wrong += run(house, ["clock-jumps"])
            finally:
                redis.kill()
    elif "clock-jumps" in names:
        print("clock-jumps        left out: Debian's package faketime is not installed")
    for one in wrong:
        print(f"FAILED  {one}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
