"""`explain` and `held show` as a user runs them: the arithmetic, and what would have had to differ."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from outbound_guard.__main__ import main
from outbound_guard.app.explaining import _with_one_more
from outbound_guard.clock import SystemClock
from outbound_guard.desk.accounts.acts import Act, decide
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Standing, WeightChange
from outbound_guard.reputation import recent
from outbound_guard.reputation.memory import NO_TRAFFIC
from tests.records import decision

CONFIG = """
[server]
data_dir = "./data"
[delivery]
mode = "sink"
[policy]
file = "policy.toml"
"""
POLICY = """
[threshold]
watch = 1.0
hold = 2.5
quarantine = 5.0
suspend = 9.0
[signal.content]
low = -0.2
high = 1.0
"""
PROGRAM = """\
From: Anna <anna@shop.test>
To: bob@example.net
Subject: Receipt \x1b]0;owned
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=edge

--edge
Content-Type: text/plain

Your receipt is attached.
--edge
Content-Type: application/octet-stream; name="receipt.pdf.exe"
Content-Disposition: attachment; filename="receipt.pdf.exe"

MZ
--edge--
"""
PLAIN = "From: anna@shop.test\nTo: bob@example.net\nSubject: Tomorrow\n\nSee you tomorrow.\n"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "guard.toml").write_text(CONFIG)
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "program.eml").write_text(PROGRAM)
    (tmp_path / "plain.eml").write_text(PLAIN)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["--config", str(tmp_path / "guard.toml"), *words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def explained(run: Run, *files: Path, more: tuple[str, ...] = ()) -> list[dict[str, object]]:
    code, out, _ = run("explain", "--json", *map(str, files), *more)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def test_json_keeps_its_contract_and_adds_up(run: Run, tmp_path: Path) -> None:
    found = explained(run, tmp_path / "program.eml", tmp_path / "plain.eml")
    assert [one["file"] for one in found] == [str(tmp_path / "program.eml"), str(tmp_path / "plain.eml")]
    assert [one["action"] for one in found] == ["hold", "relay"]
    for one in found:
        signals = one["signals"]
        assert isinstance(signals, list)
        assert all({"name", "weight", "reason"} <= signal.keys() for signal in signals)
        assert "content" in {signal["name"] for signal in signals}
        assert round(sum(signal["weight"] for signal in signals if not signal.get("shadow")), 4) == one["score"]
        assert all(re.search(r"[a-z]", signal["reason"]) for signal in signals)


def test_what_would_have_had_to_differ(run: Run, tmp_path: Path) -> None:
    (found,) = explained(run, tmp_path / "program.eml")
    why = found["why"]
    assert isinstance(why, dict)
    assert (why["outcome"], why["decided_by"]) == ("hold", "score")
    assert (why["below"]["name"], why["above"]["name"]) == ("hold", "quarantine")
    assert why["below"]["distance"] == pytest.approx(found["score"] - 2.5, abs=1e-3)
    assert [(o["change"], o["signals"], o["outcome"]) for o in why["otherwise"]] == [
        ("without", ["structure"], "relay")
    ]
    code, out, _ = run("explain", str(tmp_path / "program.eml"))
    assert code == 0
    assert "\x1b" not in out
    assert "From 2.50 on (`hold`) mail is held: the score is " in out
    assert re.search(r"Without `structure` \(\+4\.00\) it would have been relayed\.", out)


def test_a_suspension_and_an_exemption_by_people_are_heeded_and_named(run: Run, tmp_path: Path) -> None:
    clock = SystemClock()
    run("held", "list")
    (tmp_path / "data").mkdir(exist_ok=True)
    ledger = Ledger(url_of("embedded", tmp_path / "data"))

    def act(sender: str, what: Act) -> None:
        journal = Journal(tmp_path / "data" / "journal", "test", clock)
        asyncio.run(decide(ledger, journal, clock, [("sender", sender)], what))
        journal.close()
        run("held", "list")

    act("anna@shop.test", Act(what="suspend", by="ann", reason="stolen password"))
    (found,) = explained(run, tmp_path / "plain.eml")
    assert (found["action"], found["code"], found["reason"]) == ("quarantine", "suspended", "stolen password")
    assert found["why"]["otherwise"][0] == {  # type: ignore[index]
        "change": "not suspended",
        "signals": [],
        "weight": 0.0,
        "outcome": "relay",
    }
    until = clock.now() + 3600
    act("other@shop.test", Act(what="exempt", by="ann", reason="agreed", until=until))
    (found,) = explained(run, tmp_path / "program.eml", more=("--account", "other@shop.test"))
    assert (found["action"], found["code"]) == ("relay", "allowed")
    assert found["why"]["sentences"][0] == "An exemption decided (agreed): signals and limits were not asked."  # type: ignore[index]
    assert found["why"]["sentences"][-1] == "Without the exemption it would have been held."  # type: ignore[index]
    ledger.close()


def test_what_was_learned_counts_unless_it_is_switched_off(run: Run, tmp_path: Path) -> None:
    def structure() -> float:
        (found,) = explained(run, tmp_path / "program.eml")
        return next(float(s["weight"]) for s in found["signals"] if s["name"] == "structure")  # type: ignore[attr-defined]

    plain = structure()
    clock = SystemClock()
    journal = Journal(tmp_path / "data" / "journal", "test", clock)
    journal.write(WeightChange(clock.now(), "structure", "learned", 1.0, 0.8))
    journal.close()
    run("held", "list")
    assert structure() == pytest.approx(0.8 * plain, abs=1e-3)
    (tmp_path / "guard.toml").write_text(CONFIG + "learn = false\n")
    assert structure() == plain


def test_held_show_tells_the_same(run: Run, tmp_path: Path) -> None:
    clock = SystemClock()
    journal = Journal(tmp_path / "data" / "journal", "relay-0", clock)
    signals = tuple(decision().signals)
    fields = {"received": clock.now(), "sender_kind": "mailbox"}
    journal.append(decision("m1", action="quarantine", **fields))
    journal.append(decision("m2", action="hold", signals=signals[1:2], score=2.5, **fields))
    journal.append(
        decision("m3", action="quarantine", code="suspended", reason="stolen", signals=(), score=0.0, **fields)
    )
    journal.close()
    code, out, _ = run("held", "show", "m2")
    assert code == 0
    assert "From 2.50 on (`hold`) mail is held: the score is 0.00 above." in out
    assert "Without `rate` (+2.50) it would have been relayed." in out
    code, out, _ = run("held", "show", "m3", "--json")
    assert json.loads(out)["why"]["decided_by"] == "suspended"
    # Without volume it is 3.75: by this policy it would only be held.
    code, out, _ = run("held", "show", "m1", "--json")
    assert json.loads(out)["why"] is None
    code, out, _ = run("held", "show", "m1")
    assert out.endswith("By the policy in force, and without earlier corrections, the verdict would be another.\n")
    # Of a probation in those days the ledger knows.
    began, account = clock.now() - 60, decision("m1").account
    on_probation = Standing(began, "account", account, "probation", account=account, by="ann", until=began + 3600)
    journal = Journal(tmp_path / "data" / "journal", "relay-0", clock)
    journal.write(on_probation)
    journal.close()
    code, out, _ = run("held", "show", "m1")
    assert "was on probation after a suspension" in out


@pytest.mark.parametrize(("at", "sent"), [(0, (3, 30)), (1, (3, 30)), (60, (3, 30)), (90, (2, 20)), (180, (1, 10))])
def test_the_message_that_is_asked_about_counts_towards_the_limits(at: int, sent: tuple[int, int]) -> None:
    begin = 1_800_000_000.0
    traffic = NO_TRAFFIC
    for _ in range(2):
        traffic = _with_one_more(traffic, 10, begin)
    now = begin + at
    traffic = _with_one_more(traffic, 10, now)
    assert tuple(recent(traffic, "minute", what, now) for what in ("messages", "recipients")) == sent
    assert recent(traffic, "day", "messages", now) == 3


def test_a_limit_that_decides_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY + "[limit.sender]\nrecipients_per_hour = 1\n")
    (tmp_path / "two.eml").write_text(PLAIN.replace("bob@example.net", "bob@example.net, eve@example.net"))
    one, two = explained(run, tmp_path / "plain.eml", tmp_path / "two.eml")
    assert (one["action"], two["action"], two["code"]) == ("relay", "defer", "limit")
    assert two["why"]["sentences"][0] == (  # type: ignore[index]
        "A limit decided (rate limit of this sender: 2 of 1 recipients in a hour), not the score."
    )
    assert two["why"]["sentences"][-1] == "Without the limit it would have been relayed."  # type: ignore[index]
