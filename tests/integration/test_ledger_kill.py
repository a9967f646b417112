"""Writer and scribe killed again and again: nothing that was promised is missing, nothing is there twice."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from outbound_guard.clock import SystemClock
from outbound_guard.ledger import segments
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Delivered
from outbound_guard.ledger.scribe import Scribe

KILLS = 8

# Appends numbered records for ever; says which it was promised to find again.
WRITER = """
import asyncio, sys
from pathlib import Path
from outbound_guard.clock import SystemClock
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Delivered

async def main():
    journal = Journal(Path(sys.argv[1]), "relay-0", SystemClock(), asyncio.get_running_loop().call_later)
    number = int(sys.argv[2])
    while True:
        for _ in range(50):
            journal.append(Delivered(str(number), 1.0, "x@example.net", 250))
            number += 1
        journal.write(Delivered(str(number), 1.0, "x@example.net", 250))
        print(number, flush=True)
        number += 1
        await asyncio.sleep(0)

asyncio.run(main())
"""

SCRIBE = """
import sys
from pathlib import Path
from outbound_guard.clock import SystemClock
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.scribe import Scribe

data = Path(sys.argv[1])
scribe = Scribe(data / "journal", Ledger(url_of("embedded", data), writer=True), SystemClock())
print("ready", flush=True)
while True:
    scribe.once()
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True, bufsize=1
    )


def kill(process: subprocess.Popen[str]) -> list[str]:
    """SIGKILL; what it had said until then, whole lines only."""
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    return said.splitlines(keepends=True)


def numbers(data: Path) -> list[int]:
    connection = sqlite3.connect(data / "ledger.sqlite3")
    try:
        return sorted(int(row[0]) for row in connection.execute("SELECT id FROM delivery"))
    finally:
        connection.close()


def test_a_writer_killed_again_and_again_keeps_its_promises(tmp_path: Path) -> None:
    journal_dir = tmp_path / "journal"
    promised: list[int] = []
    starts: list[int] = []
    chance = random.Random(1)
    for _ in range(KILLS):
        first = promised[-1] + 100_000 if promised else 0
        starts.append(first)
        writer = start(WRITER, journal_dir, first)
        assert writer.stdout is not None
        writer.stdout.readline()  # It is at work; what comes next is cut off somewhere.
        for _ in range(chance.randrange(30)):
            writer.stdout.readline()
        rest = kill(writer)
        promised += [int(line) for line in rest if line.endswith("\n")] or [first + 50]
    # The last one's open segment has no next process of its slot: the scribe adopts it.
    ledger = Ledger(url_of("embedded", tmp_path), writer=True)
    scribe = Scribe(journal_dir, ledger, SystemClock())
    scribe.once()
    scribe.close()
    ledger.close()
    found = numbers(tmp_path)
    assert len(found) == len(set(found))
    assert set(promised) <= set(found)
    assert scribe.rejected == 0
    assert scribe.backlog == 0
    # Between what is found of one process there is no gap: records are lost at the end only.
    for first in starts:
        run = [number for number in found if first <= number < first + 100_000]
        assert run == list(range(first, first + len(run)))


def test_a_scribe_killed_again_and_again_stores_everything_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "relay-0", SystemClock())
    number = 0
    chance = random.Random(2)
    for _ in range(KILLS):
        for _ in range(30):
            for _ in range(40):
                journal.append(Delivered(str(number), 1.0, "x@example.net", 250))
                number += 1
            journal.close()
        scribe = start(SCRIBE, tmp_path)
        assert scribe.stdout is not None
        scribe.stdout.readline()
        time.sleep(chance.random() * 0.4)  # Where it is cut off is left to chance.
        kill(scribe)
    ledger = Ledger(url_of("embedded", tmp_path), writer=True)
    last = Scribe(tmp_path / "journal", ledger, SystemClock())
    last.once()
    last.close()
    ledger.close()
    assert numbers(tmp_path) == list(range(number))
    assert segments.sealed(tmp_path / "journal") == []
