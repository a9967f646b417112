"""`account` over a data directory: import, suspend, limit, exempt, and what is seen of it."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from outbound_guard.__main__ import main
from outbound_guard.accounts.directory import Directory
from outbound_guard.cli import account
from outbound_guard.clock import SystemClock
from outbound_guard.config import LimitTables
from outbound_guard.ledger import account_queries
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
    assert code == 0
    assert out.startswith("account example.net resumed\naccount example.net is on probation until 20")
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


def test_several_at_once(run: Run, data: Path) -> None:
    code, out, _ = run("account", "suspend", "one.example", "two.example", "--reason", "same phish", "--json")
    assert code == 0
    assert [(s["subject"], s["reason"]) for s in json.loads(out)] == [
        ("one.example", "same phish"),
        ("two.example", "same phish"),
    ]
    assert directory_of(data).suspended("x@two.example", "two.example") is not None
    rows = json.loads(run("account", "list", "--json", "--state", "suspended", "--search", "two")[1])
    assert [row["account"] for row in rows] == ["two.example"]
    assert run("account", "list", "--search", "nobody")[1] == "No such accounts are known.\n"


def test_resume_is_on_probation_unless_said_otherwise(run: Run, data: Path) -> None:
    now = SystemClock().now()
    for words, days in ((("--for", "2d"), 2), ((), 7)):
        assert run("account", "resume", "example.org", *words)[0] == 0
        probation = directory_of(data).probation("account", "example.org", now + 3600)
        assert probation is not None
        assert probation.until == pytest.approx(now + days * 86400, abs=600)
    assert "on probation" not in run("account", "resume", "quiet.example", "--no-probation")[1]
    assert directory_of(data).probation("account", "quiet.example", now) is None
    shown = json.loads(run("account", "show", "example.org", "--json")[1])
    assert {one["origin"] for one in shown["limits"]} == {"provider", "probation"}
    assert "200 recipients per hour" in run("account", "show", "example.org")[1]
    assert run("account", "show", "a@example.org", "--sender")[1].startswith("sender: a@example.org\n")
    assert run("account", "show", "nobody@example.org", "--sender")[0] == 1


def test_entries_and_notes(run: Run) -> None:
    dry = ("account", "enter", "c1", "--name", "One", "--add", "*@example.org", "--dry-run")
    assert run(*dry)[1].splitlines() == ["c1 is new", "name: nothing becomes “One”", "*@example.org is added"]
    assert run("account", "show", "c1")[0] == 1
    assert run(*dry[:-1])[0] == 0
    assert run("account", "enter", "c1", "--remove", "*@example.net")[2].endswith("does not belong to c1\n")
    assert run("account", "enter", "c1", "--remove", "*@example.org", "--name", "")[0] == 0
    shown = json.loads(run("account", "show", "c1", "--json")[1])
    assert (shown["name"], shown["senders"]) == ("", [])
    note = json.loads(run("account", "note", "c1", "called", "--json")[1])
    assert "called" in run("account", "show", "c1")[1]
    assert run("account", "note", "c1", "--remove", note["id"])[0] == 0
    assert "called" not in run("account", "show", "c1")[1]
    assert run("account", "note", "c1")[0] == 2
    assert run("account", "remove", "c1", "--reason", "left")[0] == 0
    assert run("account", "remove", "c1") == (1, "", "outbound-guard: c1 is not in the directory\n")


def test_import_shows_first(run: Run, data: Path) -> None:
    file = data / "accounts.csv"
    file.write_text("account,sender,name\nc1,*@example.org,One\n")
    plan = json.loads(run("account", "import", str(file), "--dry-run", "--json")[1])
    assert (plan["accounts"], plan["new"], plan["added"], plan["moved"]) == (1, 1, 1, 0)
    assert run("account", "show", "c1")[0] == 1
    assert run("account", "import", str(file))[0] == 0
    file.write_text("account,sender,name\nc2,*@example.org,\n")
    assert "c2: *@example.org moves here from c1" in run("account", "import", str(file), "--dry-run")[1]


def test_export_without_a_service(run: Run, data: Path) -> None:
    target = data / "example.zip"
    code, out, _ = run("account", "export", "example.org", "--out", str(target))
    assert (code, out) == (0, f"{target.stat().st_size} octets written to {target}\n")
    assert target.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(target) as archive:
        assert json.loads(archive.read("decision.jsonl"))["id"] == "m1"
        assert "could not be asked" in archive.read("memory.jsonl").decode()
    assert run("account", "export", "example.org", "--out", str(target))[0] == 1
    assert run("account", "export", "nobody", "--out", str(data / "x.zip")) == (
        1,
        "",
        "outbound-guard: no account nobody\n",
    )
    assert not (data / "x.zip").exists()


def test_erase_says_what_would_go_and_wants_the_name(run: Run) -> None:
    out = run("account", "erase", "example.org")[1]
    assert "Nothing was erased. To do it: --yes example.org" in out
    assert "What it does not reach" in out
    code, _, err = run("account", "erase", "example.org", "--yes", "example.com")
    assert (code, err) == (1, "outbound-guard: nothing was erased: the name that was typed is not example.org\n")
    # Without the service nobody can carry it out; the order is kept.
    assert (
        "the service carries it out as soon as it can"
        in run("account", "erase", "example.org", "--yes", "example.org")[1]
    )
    assert "being erased already" in run("account", "erase", "example.org", "--yes", "example.org")[2]


def test_the_words_of_the_list_are_those_of_the_ledger() -> None:
    assert account.STATES == account_queries.STATES
    assert account.SORTS == account_queries.SORTS
