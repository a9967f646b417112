"""`account` over a data directory: import, suspend, limit, exempt, and what is seen of it."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outbound_guard.__main__ import main
from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import SystemClock
from outbound_guard.config import LimitTables
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.journal import Journal
from tests.records import decision

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "guard.toml").write_text('[server]\ndata_dir = "./data"\n[delivery]\nmode = "sink"\n')
    place = tmp_path / "data"
    place.mkdir()
    clock = SystemClock()
    journal = Journal(place / "journal", "relay-0", clock)
    journal.append(decision("m1", received=clock.now()))
    journal.close()
    return place


@pytest.fixture
def run(data: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--config", str(data.parent / "guard.toml")])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def directory_of(data: Path) -> Directory:
    """What a relay process knows a second later."""
    ledger = Ledger(url_of("embedded", data))
    directory = Directory(ledger, SystemClock())
    asyncio.run(directory.refresh())
    ledger.close()
    return directory


def test_suspend_and_resume_reach_the_relays(run: Run, data: Path) -> None:
    code, out, err = run("account", "suspend", "a@example.org", "--sender", "--reason", "stolen", "--for", "2h")
    assert (code, err) == (0, "")
    assert out.startswith("sender a@example.org suspended until 20")
    assert run("account", "suspend", "example.net", "--json", "--by", "ann")[0] == 0
    listed = json.loads(run("account", "list", "--json")[1])
    assert [(row["account"], row["suspended"], row["senders_suspended"]) for row in listed] == [
        ("example.net", True, 0),
        ("example.org", False, 1),
    ]
    table = run("account", "list")[1].splitlines()
    assert table[1].split()[:2] == ["example.net", "suspended"]
    assert "1 senders suspended" in table[2]
    directory = directory_of(data)
    assert directory.suspended("a@example.org", "example.org") is not None
    assert directory.suspended("b@example.org", "example.org") is None
    assert directory.suspended("x@example.net", "example.net") is not None
    code, out, err = run("account", "resume", "example.net")
    assert (code, out) == (0, "account example.net resumed\n")
    assert "suspicion" in err
    assert directory_of(data).suspended("x@example.net", "example.net") is None


def test_limit_and_exempt(run: Run, data: Path) -> None:
    assert run("account", "limit", "example.org", "--messages-per-hour", "40")[0] == 0
    code, out, _ = run("account", "exempt", "example.org", "--for", "7d", "--reason", "migration", "--json")
    assert (code, json.loads(out)["change"]) == (0, "exempted")
    directory = directory_of(data)
    assert directory.limit("a@example.org", "example.org", LimitTables()).messages_per_hour == 40
    assert directory.exempt("a@example.org", "example.org", SystemClock().now()) == "migration"
    assert run("account", "limit", "example.org", "--none")[1] == "account example.org unlimited\n"
    assert directory_of(data).account_limit("example.org", LimitTables()) == LimitTables().account


@pytest.mark.parametrize(
    "words",
    [
        ("limit", "example.org"),
        ("limit", "example.org", "--none", "--messages-per-hour", "3"),
        ("limit", "example.org", "--messages-per-hour", "-3"),
        ("exempt", "example.org", "--for", "7d"),
        ("exempt", "example.org", "--reason", "x"),
        ("suspend",),
        ("suspend", "example.org", "--for", "soon"),
        ("suspend", "example.org", "--until", "2026-02-30"),
        (),
    ],
)
def test_wrong_usage(run: Run, data: Path, words: tuple[str, ...]) -> None:
    code, out, err = run("account", *words)
    assert (code, out) == (2, "")
    assert err.startswith("usage:")
    assert not (data / "ledger.sqlite3").exists()


def test_import_from_a_file_and_from_stdin(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = data / "accounts.csv"
    file.write_text("account,sender,contact\nc1,*@example.org,one@example.org\nc1,web1/1012,\n")
    assert run("account", "import", str(file)) == (0, "1 accounts with 2 senders taken in\n", "")
    stdin = io.TextIOWrapper(io.BytesIO(b"account,sender\nc2,z@example.org\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert json.loads(run("account", "import", "-", "--json")[1]) == {"accounts": 1, "senders": 1}
    shown = json.loads(run("account", "show", "c1", "--json")[1])
    assert (shown["contact"], shown["senders"]) == ("one@example.org", ["*@example.org", "web1/1012"])
    directory = directory_of(data)
    assert directory.account_of("a@example.org") == "c1"
    assert directory.account_of("z@example.org") == "c2"


def test_import_failures_are_one_line(run: Run, data: Path) -> None:
    file = data / "accounts.csv"
    file.write_text("account,sender\n,x@example.org\n")
    assert run("account", "import", str(file)) == (1, "", "outbound-guard: line 2: no account\n")
    file.write_bytes(b"account\n\xff\n")
    assert run("account", "import", str(file))[2] == f"outbound-guard: {file}: is not UTF-8 at octet 8\n"
    assert (
        run("account", "import", "/nowhere/x.csv")[2] == "outbound-guard: /nowhere/x.csv: No such file or directory\n"
    )


def test_show(run: Run) -> None:
    assert run("account", "suspend", "example.org", "--reason", "phish\x1b[31m")[0] == 0
    code, out, _ = run("account", "show", "example.org")
    assert code == 0
    assert "suspended" in out
    assert "phish\\x1b[31m" in out
    assert "m1" in out
    assert run("account", "show", "nobody") == (1, "", "outbound-guard: no account nobody\n")
