"""Kill -9 at any instant loses nothing, and doubles only what was in flight.

OUTBOUND_GUARD_KILLS sets the number of kills (default 12).
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from outbound_guard.clock import SystemClock
from outbound_guard.spool import Spool

CHILD = Path(__file__).with_name("spool_child.py")
KILLS = int(os.environ.get("OUTBOUND_GUARD_KILLS", "12"))
CONCURRENCY = 5
"""Deliveries at a time in the child: what one kill may double."""


class Child:
    """One process; its output goes to a file, so that nothing it said is lost with it."""

    def __init__(self, mode: str, directory: Path, number: int) -> None:
        self.output = directory / f"{mode}.{number}.out"
        self.errors = directory / f"{mode}.{number}.err"
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(CHILD), mode, str(directory), str(number)], stdout=output, stderr=errors
            )

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def kill_after(self, lines: int) -> None:
        """SIGKILL once it has done something `lines` times: the instant is anywhere in the next step."""
        end = time.monotonic() + 60
        while len(self.lines()) < lines:
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < end, (self.output.name, lines, self.errors.read_text())
            time.sleep(0.0005)
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
@pytest.mark.timeout(60 + KILLS * 10)
def test_killed_processes_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(1)
    putters: list[Child] = []
    delivery_kills = 0
    for number in range(0, KILLS, 3):
        # All three work on the spool at once, and die one after the other at unrelated moments; the putter last, so
        # that the others always have something to do.
        putter, mover, deliverer = (Child(mode, tmp_path, number) for mode in ("put", "move", "deliver"))
        putters.append(putter)
        delivery_kills += 1
        try:
            victims = [(mover, chance.randrange(1, 60)), (deliverer, chance.randrange(1, 100))]
            chance.shuffle(victims)
            for child, lines in victims:
                child.kill_after(lines)
            putter.kill_after(len(putter.lines()) + chance.randrange(1, 20))
        finally:
            for child in (putter, mover, deliverer):
                child.kill()
    drain = subprocess.run(
        [sys.executable, str(CHILD), "drain", str(tmp_path), "0"], capture_output=True, timeout=100, check=False
    )
    assert drain.returncode == 0, drain.stderr.decode()

    promised = dict(line.split(" ", 1) for child in putters for line in child.lines() if line.count(" "))
    accepted = Counter((tmp_path / "accepted").read_text().splitlines())
    # A bounce (to a@example.com) stands for the recipient that was refused.
    expected = {
        f"{id_} {'a@example.com' if recipient == 'never@x' else recipient}"
        for id_, recipients in promised.items()
        for recipient in recipients.split()
    }
    assert len(promised) > 20
    assert expected - accepted.keys() == set()
    # At most what was in flight is there twice: each message has up to two recipients that can be accepted at once,
    # and a bounce.
    assert sum(count - 1 for count in accepted.values()) <= delivery_kills * CONCURRENCY * 3
    # Nothing was made up: besides what was promised there are only messages whose put was cut short.
    unpromised = {line.split()[0] for line in accepted} - promised.keys()
    assert len(unpromised) <= 4 * len(putters)

    spool = Spool(tmp_path / "spool", SystemClock(), 0)
    assert {state: len(spool.files.ids(state)) for state in ("incoming", "queue", "held", "quarantine")} == {
        "incoming": 0, "queue": 0, "held": 0, "quarantine": 0,
    }  # fmt: skip
    assert list((tmp_path / "spool" / "corrupt").iterdir()) == []
    spool.close()
