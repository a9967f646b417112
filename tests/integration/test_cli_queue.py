"""`queue` over a data directory as a service leaves it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from outbound_guard.__main__ import main
from outbound_guard.clock import SystemClock
from outbound_guard.ledger.journal import Journal
from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply
from outbound_guard.spool import Entry, Progress, Spool
from tests.records import decision

CONFIG = '[server]\nhostname = "guard.test"\ndata_dir = "./data"\n[delivery]\nmode = "sink"\n'
GREY, FULL = Reply(451, "4.7.1", "Greylisted, try again"), Reply(452, "4.2.2", "mailbox is full")
FIELDS = {
    *(
        "id",
        "received",
        "account",
        "sender",
        "sender_class",
        "mail_from",
        "subject",
        "size",
        "attempts",
        "due",
        "since",
        "report",
    ),
    *("returnable", "number", "recipients", "destinations", "answers", "which", "cut"),
}
"""What an object of `queue list --json` has; other programs rely on it."""
BULK = {"class": "bulk"}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three queued messages, the first of which came long ago, and one that is held."""
    (tmp_path / "guard.toml").write_text(CONFIG)
    place = tmp_path / "data"
    clock = SystemClock()
    now = clock.now()
    spool = Spool(place / "spool", clock, 0, threads=1)
    journal = Journal(place / "journal", "relay-0", clock)
    messages = (
        ("m1", "anna@one.test", ("a@grey.test",), GREY, 90_000.0, "queue"),
        ("m2", "anna@one.test", ("b@full.test", "c@grey.test"), FULL, 60.0, "queue"),
        ("m3", "bert@two.test", ("b@full.test",), FULL, 30.0, "incoming"),
        ("m4", "bert@two.test", ("b@full.test",), FULL, 20.0, "held"),
    )
    for id_, sender, to, said, age, state in messages:
        account = sender.split("@")[1]
        envelope = Envelope(sender, to)
        entry = Entry(
            id_, now - age, envelope, account, sender, "\x1b]0;owned\x07\u202e\x7fHello", bounce_to=sender, meta=BULK
        )
        asyncio.run(spool.put(entry, [b"Subject: Hello\r\n\r\nText\r\n"], state))  # type: ignore[arg-type]
        spool.files.save(id_, Progress(attempts=2, due=now + 600, replies=dict.fromkeys(to, said)))
        action = "hold" if state == "held" else "relay"
        known = decision(id_, received=now - age, account=account, sender=sender, action=action, recipients=to)
        journal.append(known if state == "held" else decision(id_, received=now - age, action="relay", state="queued"))
    spool.close()
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
    code, out, err = run("queue", "list", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [row["id"] for row in found] == ["m1", "m2", "m3"]
    assert found[0].keys() == FIELDS
    assert found[0]["answers"] == [
        {
            "text": "451 4.7.1 Greylisted, try again",
            "wording": "451 4.7.1 Greylisted, try again",
            "class": "greylisting",
        }
    ]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--account", "two.test"), ["m3"]),
        (("--sender", "anna@one.test"), ["m1", "m2"]),
        (("--sender-class", "bulk", "--account", "two.test"), ["m3"]),
        (("--sender-class", "new"), []),
        (("--recipient", "B@full.test"), ["m2", "m3"]),
        (("--destination", "grey.test"), ["m1", "m2"]),
        (("--reply", "MAILBOX is"), ["m2", "m3"]),
        (("--class", "greylisting"), ["m1"]),
        (("--class", "mailbox_full", "--destination", "grey.test"), ["m2"]),
        (("--subject", "hello"), ["m1", "m2", "m3"]),
        (("--older-than", "1d"), ["m1"]),
        (("--since", "1h", "--sort", "received", "--down"), ["m3", "m2"]),
        (("--limit", "1"), ["m1"]),
    ],
)
def test_list_by_filters(run: Run, filters: tuple[str, ...], ids: list[str]) -> None:
    code, out, _ = run("queue", "list", "--json", *filters)
    assert (code, [row["id"] for row in json.loads(out)]) == (0, ids)


def test_in_numbers(run: Run) -> None:
    told = json.loads(run("queue", "list", "--summary", "--json")[1])
    assert (told["number"], told["recipients"], told["untried"]) == (3, 4, 0)
    assert {share["key"]: share["number"] for share in told["destinations"]} == {"full.test": 2, "grey.test": 2}
    assert {share["key"]: share["number"] for share in told["accounts"]} == {"one.test": 2, "two.test": 1}
    assert {share["class"]: share["number"] for share in told["answers"]} == {"mailbox_full": 2, "greylisting": 1}
    assert "mailbox is full" in run("queue", "list", "--summary")[1]


def test_nothing_of_a_stranger_reaches_the_terminal_unmasked(run: Run) -> None:
    for words in (("list",), ("show", "m2"), ("list", "--json"), ("show", "m2", "--json")):
        code, out, _ = run("queue", *words)
        assert code == 0
        assert "full.test" in out
        assert not [letter for letter in out if not (letter.isprintable() or letter == "\n")]


@pytest.mark.parametrize("act", ["retry", "hold", "bounce"])
@pytest.mark.parametrize(
    "words",
    [(), ("--all",), ("--account", ""), ("--reply", "  "), ("--reason", "x"), ("m1", "--account", "one.test")],
)
def test_without_a_condition_nothing_is_done(run: Run, data: Path, act: str, words: tuple[str, ...]) -> None:
    code, out, err = run("queue", act, *words)
    assert (code, out) == (2, "")
    assert "error" in err
    assert (files(data, "queue"), files(data, "incoming"), files(data, "held")) == ({"m1", "m2"}, {"m3"}, {"m4"})


def test_retry(run: Run, data: Path) -> None:
    code, out, _ = run("queue", "retry", "--class", "greylisting", "--json")
    assert code == 0
    assert json.loads(out)["done"] == 1
    assert files(data, "incoming") == {"m1", "m3"}


def test_hold_and_what_held_says_then(run: Run, data: Path) -> None:
    assert run("queue", "hold", "m2", "--reason", "a look")[:2] == (0, "1 of 1 held\n")
    assert files(data, "held") == {"m2", "m4"}
    held = {row["id"]: row for row in json.loads(run("held", "list", "--json")[1])}
    assert held["m2"]["change_reason"] == "a look"
    assert run("held", "release", "m2", "--keep-suspicion")[0] == 0
    assert files(data, "incoming") == {"m2", "m3"}


def test_bounce_says_first_what_it_would_do(run: Run, data: Path) -> None:
    code, out, _ = run("queue", "bounce", "--destination", "full.test", "--dry-run")
    assert code == 0
    assert out.startswith("bounce 2 messages: for full.test\n")
    assert files(data, "queue") == {"m1", "m2"}
    code, out, _ = run("queue", "bounce", "--destination", "full.test", "--reason", "wrong server")
    assert (code, out) == (0, "2 of 2 given up\n")
    # m3 has gone, m2 waits for the other recipient; each sender gets a report.
    assert files(data, "queue") == {"m1", "m2"}
    assert len(files(data, "incoming")) == 2
    assert json.loads(run("queue", "show", "m2", "--json")[1])["message"]["recipients"] == ["c@grey.test"]
    story = run("message", "show", "m3")[1]
    assert "OG-RETURNED returned by the postmaster: wrong server" in story


@pytest.mark.parametrize("id_", ["nobody", "../queue/m1", "m4"])
def test_what_is_not_queued_is_said_in_one_line(run: Run, data: Path, id_: str) -> None:
    for words in (("show", id_), ("retry", id_), ("hold", id_), ("bounce", id_)):
        code, _, err = run("queue", *words)
        assert code == 1
        assert len(err.splitlines()) == 1
    assert files(data, "held") == {"m4"}
    code, _, err = run("queue", "retry", "--account", "nobody.test")
    assert (code, err) == (1, "outbound-guard: nothing that is queued fits\n")
