"""`weights`, and what `held release` and `held delete --abuse` teach, over a data directory as a service leaves it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from outbound_guard.__main__ import main
from outbound_guard.clock import SystemClock
from outbound_guard.desk.policy.weights import LEARNING
from outbound_guard.ledger.journal import Journal
from outbound_guard.mail import Signal
from outbound_guard.signals import CHECKS
from outbound_guard.spool import Spool
from tests.records import decision, entry

CONFIG = """
[server]
data_dir = "./data"
[delivery]
mode = "sink"
"""
SIGNALS = (Signal("content", 4.0, "like spam"), Signal("recipients", 3.0, "new"), Signal("software", -0.3, "its own"))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Six held messages: m0 to m3 of one campaign and sender, m4 and m5 of others."""
    (tmp_path / "guard.toml").write_text(CONFIG)
    clock = SystemClock()
    spool = Spool(tmp_path / "data" / "spool", clock, 0, threads=1)
    journal = Journal(tmp_path / "data" / "journal", "relay-0", clock)

    async def put() -> None:
        for n in range(6):
            sender, text = ("a@example.org", "abc") if n < 4 else (f"s{n}@example.org", f"{n}")
            about = {"received": clock.now() - 30, "sender": sender, "score": 6.7}
            await spool.put(
                entry(f"m{n}", **about, meta={"fingerprint": text}), [b"Subject: x\r\n\r\nText\r\n"], "held"
            )
            journal.append(decision(f"m{n}", **about, signals=SIGNALS))

    asyncio.run(put())
    spool.close()
    journal.close()

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["--config", str(tmp_path / "guard.toml"), *words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def factors(run: Run) -> dict[str, float]:
    code, out, err = run("weights", "show", "--json")
    assert (code, err) == (0, "")
    return {row["signal"]: row["factor"] for row in json.loads(out)}


def test_at_first_every_weight_is_the_policys(run: Run) -> None:
    assert factors(run) == {check.NAME: 1.0 for check in CHECKS}
    code, out, _ = run("weights", "show")
    assert code == 0
    shown = {line.split()[0]: line.split()[1] for line in out.splitlines()[1:]}
    assert shown == {check.NAME: "1.000" if check.NAME in LEARNING else "fixed" for check in CHECKS}
    assert run("weights", "history") == (0, "No weight was ever changed.\n", "")
    assert run("weights", "history", "--json") == (0, "[]\n", "")
    assert run("weights", "reset") == (0, "Every weight is the policy's already.\n", "")


def test_a_release_lowers_what_was_to_blame_once_for_the_whole_campaign(run: Run) -> None:
    code, _, err = run("held", "release", "--sender", "a@example.org", "--by", "ann")
    assert code == 0
    # The memory of the relays is away, which is told; the ledger is there.
    assert "weights" not in err
    after = factors(run)
    assert after["content"] < after["recipients"] < 1.0 < after["software"]
    code, out, _ = run("weights", "history", "--json")
    rows = json.loads(out)
    assert {(row["message"], row["by"], row["finding"], row["change"]) for row in rows} == {
        ("m0", "ann", "honest", "learned")
    }
    assert {row["signal"]: (row["factor_from"], row["factor_to"]) for row in rows} == {
        name: (1.0, after[name]) for name in ("content", "recipients", "software")
    }
    code, out, _ = run("held", "show", "m0", "--json")
    assert "weights.learned" in [a["what"] for a in json.loads(out)["decision"]["audit"]]


def test_a_confirmation_raises_it(run: Run) -> None:
    assert run("held", "delete", "m4", "--abuse")[0] == 0
    after = factors(run)
    assert after["content"] > after["recipients"] > 1.0 > after["software"]
    assert run("held", "delete", "m5", "--abuse")[0] == 0
    assert factors(run)["content"] > after["content"]


@pytest.mark.parametrize("words", [("release", "m0", "--keep-suspicion"), ("delete", "m0")])
def test_what_says_nothing_about_the_message_teaches_nothing(run: Run, words: tuple[str, ...]) -> None:
    assert run("held", *words)[0] == 0
    assert json.loads(run("weights", "history", "--json")[1]) == []


def test_the_switch(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(CONFIG + "[policy]\nlearn = false\n")
    assert run("held", "release", "m0")[0] == 0
    code, out, err = run("weights", "show", "--json")
    assert (code, err) == (0, "outbound-guard: policy.learn is off: every factor counts as 1\n")
    assert {row["factor"] for row in json.loads(out)} == {1.0}


def test_undo_and_reset(run: Run) -> None:
    run("held", "release", "m0")
    first = factors(run)
    run("held", "release", "m4")
    second = factors(run)
    assert second["content"] < first["content"]
    code, out, _ = run("weights", "undo", "m4", "--json", "--by", "bob", "--reason", "it was spam")
    assert code == 0
    assert {(row["change"], row["by"], row["reason"]) for row in json.loads(out)} == {("undone", "bob", "it was spam")}
    assert factors(run) == pytest.approx(first)
    assert run("weights", "undo", "m4") == (1, "", "outbound-guard: what was learned from m4 is undone already\n")
    assert run("weights", "undo", "m9") == (1, "", "outbound-guard: nothing was learned from m9\n")

    code, out, _ = run("weights", "reset", "content")
    assert (code, out) == (0, f"content {first['content']:.3f} -> 1.000\n")
    assert factors(run) == pytest.approx(first | {"content": 1.0})
    code, out, _ = run("weights", "reset", "--json")
    assert {row["signal"] for row in json.loads(out)} == {"recipients", "software"}
    assert set(factors(run).values()) == {1.0}
    code, out, err = run("weights", "reset", "rate")
    assert (code, out) == (1, "")
    assert err.startswith("outbound-guard: rate: no signal of that name learns; those that do: recipients, ")
    code, out, _ = run("weights", "history", "content")
    assert out.splitlines()[1].split()[2:4] == ["content", "reset"]


def test_a_broken_policy_hinders_no_release(run: Run, tmp_path: Path) -> None:
    (tmp_path / "guard.toml").write_text(CONFIG + '[policy]\nfile = "policy.toml"\n')
    (tmp_path / "policy.toml").write_text("[threshold]\nhold = -1\n")
    code, out, err = run("held", "release", "m0", "m4")
    assert (code, out) == (0, "m0 released\nm4 released\n")
    assert err.count("outbound-guard: the weights of the signals stay: ") == 1
    code, out, err = run("held", "show", "m5")
    assert (code, "score:" in out) == (0, True)
    assert err.startswith("outbound-guard: what would have had to differ cannot be told: ")


def test_without_a_ledger_the_release_is_done_and_says_what_was_not(run: Run, tmp_path: Path) -> None:
    run("held", "list")
    file = tmp_path / "data" / "ledger.sqlite3"
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    code, out, err = run("held", "release", "m0", "m4")
    assert (code, out) == (0, "m0 released\nm4 released\n")
    assert err.count("outbound-guard: the weights of the signals stay: ledger: ") == 1
