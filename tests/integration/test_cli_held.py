"""`held` over a data directory as a service leaves it, with and without the service's scribe at work."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outbound_guard.__main__ import main
from outbound_guard.cli.held import CONTRACT
from outbound_guard.clock import SystemClock
from outbound_guard.desk import Reconciled, reconcile
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Record
from outbound_guard.spool import Spool
from tests.records import SCORE, decision, entry

CONFIG = """
[server]
data_dir = "./data"
[delivery]
mode = "sink"
"""
CONTENT = b"Subject: Hello\r\n\r\nText \xff\r\n"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two held messages and one in quarantine, as spool and journal have them."""
    (tmp_path / "guard.toml").write_text(CONFIG)
    place = tmp_path / "data"
    clock = SystemClock()
    now = clock.now()
    spool = Spool(place / "spool", clock, 0, threads=1)

    async def put() -> None:
        await spool.put(entry("m1", received=now - 30), [CONTENT], "held")
        await spool.put(entry("m2", received=now - 20, sender="b@example.org"), [CONTENT], "held")
        await spool.put(entry("m3", received=now - 10, account="example.com"), [CONTENT], "quarantine")

    asyncio.run(put())
    spool.close()
    records: tuple[Record, ...] = (
        decision("m1", received=now - 30),
        decision("m2", received=now - 20, sender="b@example.org", subject="\x1b]0;owned\x07\u202e\x7fHello"),
        decision("m3", received=now - 10, account="example.com", action="quarantine", state="quarantine"),
        decision("m4", received=now - 5, action="relay", state=""),
    )
    journal = Journal(place / "journal", "relay-0", clock)
    for record in records:
        journal.append(record)
    journal.close()
    return place


@pytest.fixture
def run(data: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(["--config", str(data.parent / "guard.toml"), *words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def files(data: Path, state: str) -> set[str]:
    return set(os.listdir(data / "spool" / state))


def test_list_keeps_its_contract(run: Run) -> None:
    code, out, err = run("held", "list", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [row["id"] for row in found] == ["m1", "m2", "m3"]
    assert set(CONTRACT) <= found[0].keys()
    assert found[0] | {"received": 0} | dict.fromkeys(found[0].keys() - set(CONTRACT)) == {
        **dict.fromkeys(found[0].keys() - set(CONTRACT)),
        "id": "m1",
        "received": 0,
        "account": "example.org",
        "sender": "a@example.org",
        "mail_from": "a@example.org",
        "recipients": ["x@example.net", "Y@example.net"],
        "subject": "Hello",
        "action": "hold",
        "score": SCORE,
        "reasons": [
            "novelty: 9 of 10 recipients are new, usually 10 %",
            "rate: 80 messages in an hour, usually 3",
            "from_address: the From is its own",
        ],
    }
    assert isinstance(found[0]["received"], float)


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--account", "example.com"), ["m3"]),
        (("--sender", "b@example.org"), ["m2"]),
        (("--state", "held"), ["m1", "m2"]),
        (("--recipient", "y@EXAMPLE.net"), ["m1", "m2", "m3"]),
        (("--recipient", "nobody@example.net"), []),
        (("--since", "15s"), ["m3"]),
        (("--since", "1h", "--limit", "2"), ["m2", "m3"]),
    ],
)
def test_list_by_filters(run: Run, filters: tuple[str, ...], ids: list[str]) -> None:
    code, out, _ = run("held", "list", "--json", *filters)
    assert (code, [row["id"] for row in json.loads(out)]) == (0, ids)


def test_nothing_of_a_stranger_reaches_the_terminal_unmasked(run: Run) -> None:
    for words in (
        ("held", "list"),
        ("held", "show", "m2"),
        ("held", "list", "--json"),
        ("held", "show", "m2", "--json"),
    ):
        code, out, _ = run(*words)
        assert code == 0
        assert "Hello" in out
        assert not [letter for letter in out if not (letter.isprintable() or letter == "\n")]
    assert "\\x1b]0;owned\\x07\\u202e\\x7fHello" in run("held", "list")[1]


def test_show_tells_the_arithmetic(run: Run) -> None:
    code, out, _ = run("held", "show", "m1")
    assert code == 0
    for words in ("6.25", "+4.25", "novelty", "structure (shadow)", "9 of 10 recipients are new", "in spool:"):
        assert words in out
    found = json.loads(run("held", "show", "m1", "--json")[1])
    weights = [signal["weight"] for signal in found["decision"]["signals"] if not signal["shadow"]]
    assert sum(weights) == found["score"] == SCORE


def test_show_writes_the_message_octet_for_octet(data: Path) -> None:
    command = [sys.executable, "-m", "outbound_guard", "held", "show", "m1", "--content"]
    done = subprocess.run(
        [*command, "--config", data.parent / "guard.toml"], capture_output=True, check=True, timeout=60
    )
    assert done.stdout == CONTENT


def test_release_and_what_is_seen_afterwards(run: Run, data: Path) -> None:
    code, out, err = run("held", "release", "m1", "--reason", "newsletter", "--by", "ann")
    assert (code, out) == (0, "m1 released\n")
    # No service is running, so its memory cannot be told; that does not hold the message back.
    assert err.startswith("outbound-guard: the suspicion of a@example.org stays")
    assert files(data, "incoming") == {"m1"}
    assert files(data, "held") == {"m2"}
    assert [row["id"] for row in json.loads(run("held", "list", "--json")[1])] == ["m2", "m3"]
    shown = json.loads(run("held", "show", "m1", "--json")[1])
    assert (shown["state"], shown["changed_by"], shown["change_reason"], shown["in_spool"]) == (
        "released",
        "ann",
        "newsletter",
        "incoming",
    )
    code, out, err = run("held", "release", "m1", "--keep-suspicion")
    assert (code, out) == (1, "")
    assert err == "outbound-guard: m1 is not held any more: it is being delivered\n"


def test_delete(run: Run, data: Path) -> None:
    assert run("held", "delete", "m3", "m2") == (0, "m3 deleted\nm2 deleted\n", "")
    assert files(data, "held") | files(data, "quarantine") == {"m1"}
    assert [row["id"] for row in json.loads(run("held", "list", "--json")[1])] == ["m1"]


def test_return_reaches_only_senders_that_the_account_owns(run: Run, data: Path) -> None:
    code, _, err = run("held", "return", "m1", "--reason", "he asked for it")
    assert code == 1
    assert "backscatter" in err
    assert "m1" in files(data, "held")


def test_release_by_account(run: Run, data: Path) -> None:
    code, out, _ = run("held", "release", "--account", "example.org", "--keep-suspicion", "--json")
    assert code == 0
    assert json.loads(out) == [{"id": "m1", "result": "released"}, {"id": "m2", "result": "released"}]
    assert files(data, "incoming") == {"m1", "m2"}
    assert run("held", "release", "--account", "example.org")[0] == 1


def test_what_is_named_and_cannot_be_done_does_not_stop_the_rest(run: Run, data: Path) -> None:
    code, out, err = run("held", "delete", "nothere", "m1")
    assert (code, out) == (1, "m1 deleted\n")
    assert err == "outbound-guard: no held message nothere in this machine's spool\n"


@pytest.mark.parametrize("act", ["release", "delete", "return"])
def test_nobody_lets_everything_go_by_a_slip(run: Run, data: Path, act: str) -> None:
    for words in ((), ("m1", "--account", "example.org")):
        code, out, err = run("held", act, *words)
        assert (code, out) == (2, "")
        assert "--account" in err
    assert files(data, "held") == {"m1", "m2"}


def test_a_locked_ledger_is_said_in_one_line_and_does_not_hinder_a_release(run: Run, data: Path) -> None:
    assert run("held", "list")[0] == 0
    thief = sqlite3.connect(data / "ledger.sqlite3", isolation_level=None)
    thief.execute("PRAGMA locking_mode = EXCLUSIVE")
    thief.execute("BEGIN EXCLUSIVE")
    code, out, err = run("held", "list")
    assert (code, out) == (1, "")
    assert err == "outbound-guard: ledger: database is locked\n"
    assert run("held", "release", "m1", "--keep-suspicion")[:2] == (0, "m1 released\n")
    thief.execute("ROLLBACK")
    thief.close()
    assert [row["id"] for row in json.loads(run("held", "list", "--json")[1])] == ["m2", "m3"]


def test_beside_a_running_scribe_the_next_command_sees_what_this_one_did(run: Run, data: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from outbound_guard.clock import SystemClock\n"
        "from outbound_guard.ledger.database import Ledger, url_of\n"
        "from outbound_guard.ledger.scribe import Scribe\n"
        "data = Path(sys.argv[1])\n"
        "scribe = Scribe(data / 'journal', Ledger(url_of('embedded', data), writer=True), SystemClock())\n"
        "scribe.once()\n"
        "print('ready', flush=True)\n"
        "asyncio.run(scribe.run())\n"
    )
    service = subprocess.Popen([sys.executable, "-c", program, data], stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        assert service.stdout.readline() == "ready\n"
        assert run("held", "release", "m2", "--keep-suspicion")[0] == 0
        assert [row["id"] for row in json.loads(run("held", "list", "--json")[1])] == ["m1", "m3"]
    finally:
        service.send_signal(signal.SIGKILL)
        service.communicate()


KILLED = """
import os, signal, sys
from outbound_guard.__main__ import main
from outbound_guard.ledger.journal import Journal
from outbound_guard.spool import Lease

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "before":
    Journal.write = die
elif sys.argv[1] == "between":
    Lease.move = Lease.remove = die
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("act", "then"), [("release", {"incoming": {"m1"}}), ("delete", {"incoming": set()})])
def test_an_act_killed_in_the_middle_is_recorded_and_finished(
    run: Run, data: Path, act: str, then: dict[str, set[str]]
) -> None:
    def killed(moment: str) -> None:
        words = [act, "m1", "--config", str(data.parent / "guard.toml")]
        done = subprocess.run([sys.executable, "-c", KILLED, moment, "held", *words], check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL

    def listed() -> list[str]:
        return [row["id"] for row in json.loads(run("held", "list", "--json")[1])]

    killed("before")
    assert files(data, "held") == {"m1", "m2"}
    assert listed() == ["m1", "m2", "m3"]
    killed("between")
    assert files(data, "held") == {"m1", "m2"}
    assert listed() == ["m2", "m3"]

    async def restarted() -> Reconciled:
        clock = SystemClock()
        spool, ledger = Spool(data / "spool", clock, 0, threads=1), Ledger(url_of("embedded", data), writer=True)
        journal = Journal(data / "journal", "console", clock)
        done = await reconcile(spool, ledger, journal, clock, hostname="og.test")
        journal.close()
        ledger.close()
        spool.close()
        return done

    assert asyncio.run(restarted()) == Reconciled(finished=1)
    assert files(data, "held") == {"m2"}
    assert {state: files(data, state) for state in then} == then
    assert listed() == ["m2", "m3"]
