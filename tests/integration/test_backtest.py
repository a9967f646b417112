"""A candidate policy against the one in force, over recorded traffic."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from outbound_guard import replay
from outbound_guard.config import Policy, load_policy
from outbound_guard.replay.backtest import compare, outcomes
from tests.integration.test_replay import small_trace

PROGRAM = [sys.executable, "-m", "outbound_guard", "replay"]
BLIND = "[threshold]\nwatch = 1000.0\nhold = 2000.0\nquarantine = 3000.0\nsuspend = 4000.0\n"
"""Lets everything pass."""
STRICT = "[threshold]\nwatch = 1.0\nhold = 2.0\nquarantine = 3.0\nsuspend = 4.0\n"
"""Suspends the thief of the small trace, however the signals are tuned."""


def backtest(*words: str | Path, code: int = 0) -> str:
    done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=100, cwd=Path(words[0]).parent)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def report(*words: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(backtest(*words, "--json"))
    return found


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return small_trace(tmp_path / "trace")


def configured(folder: Path, policy: str) -> Path:
    """A configuration whose policy this is."""
    config = folder / "guard.toml"
    config.write_text('[delivery]\nmode = "sink"\n[policy]\nfile = "in-force.toml"\n')
    (folder / "in-force.toml").write_text(policy)
    return config


@pytest.fixture
def blind(tmp_path: Path) -> Path:
    policy = tmp_path / "blind.toml"
    policy.write_text(BLIND)
    return policy


def test_a_candidate_that_lets_everything_pass(trace: Path, blind: Path) -> None:
    found = report(trace, "--config", configured(blind.parent, STRICT), "--policy", blind)
    in_force, candidate = found["in_force"]["fates"], found["candidate"]["fates"]
    assert candidate == {fate: 60 if fate == "relayed" else 0 for fate in candidate}
    stopped = 60 - in_force["relayed"]
    assert stopped >= 15
    assert found["newly_touched"]["messages"] == 0
    # All of them went to people who do not exist: that is what the trace knows of them.
    assert found["no_longer_touched"]["messages"] == stopped
    assert found["no_longer_touched"]["outcomes"] == {"unknown_user": stopped}
    assert found["no_longer_suspended"] == ["anna@a.example"]
    assert found["senders"] == [
        {
            "sender": "anna@a.example",
            "account": "a.example",
            "messages": 60,
            "changed": stopped,
            "in_force": {fate: number for fate, number in in_force.items() if number},
            "candidate": {"relayed": 60},
            "suspended": "no longer",
            "outcomes": {"unknown_user": stopped},
            "labels": {},
        }
    ]
    assert sum(found["moves"].values()) == stopped


def test_the_policy_in_force_is_the_configurations(trace: Path, tmp_path: Path) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text(STRICT)
    found = report(trace, "--config", configured(tmp_path, BLIND), "--policy", strict)
    assert found["in_force"]["name"] == str(tmp_path / "in-force.toml")
    assert found["in_force"]["fates"]["relayed"] == 60
    assert found["newly_touched"]["messages"] == 60 - found["candidate"]["fates"]["relayed"] > 0
    assert found["newly_suspended"] == ["anna@a.example"]


def test_labels_are_told_but_do_not_change_verdicts(trace: Path, blind: Path) -> None:
    without = report(trace, "--policy", blind)
    with (trace / "labels.jsonl").open("w") as file:
        for number in range(60):
            label = {"id": f"t{number}", "label": "spam" if number >= 40 else "ham", "account": "a", "scenario": "x"}
            file.write(json.dumps(label) + "\n")
    found = report(trace, "--policy", blind)
    assert found["everything"]["labels"] == {"ham": 40, "spam": 20}
    assert found["no_longer_touched"]["labels"] == {"spam": found["no_longer_touched"]["messages"]}
    assert found["moves"] == without["moves"]


def test_for_people_totals_come_first(trace: Path, blind: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    said = backtest(trace, "--policy", blind, "--out", out)
    assert said.index("quarantined") < said.index("no longer touched") < said.index("Senders that differ")
    assert "anna@a.example" in said
    # The run that is written is the candidate's.
    assert {json.loads(line)["final"] for line in out.read_text().splitlines()} == {"relay"}


def test_two_policies_that_agree(trace: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    assert "Every message meets the same fate under both." in backtest(trace, "--policy", empty)


def test_the_same_input_and_policy_give_the_same_verdicts(trace: Path) -> None:
    first, second = replay.run(trace, Policy()), replay.run(trace, Policy())
    assert first.driver.records == second.driver.records
    assert len(first.driver.records) == 60
    same = compare(trace, ("one", first), ("other", second))
    assert (same.moves, same.senders, same.newly_touched.messages) == ({}, [], 0)


def test_only_the_first_senders_unless_all_are_asked_for(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "trace")
    lines = (trace / "trace.jsonl").read_text().splitlines()
    with (trace / "trace.jsonl").open("w") as file:
        for number, line in enumerate(lines[:25]):
            # Direct submission: the login is the sender.
            file.write(json.dumps(json.loads(line) | {"server": None, "sasl_user": f"u{number}@a.example"}) + "\n")
    strict = tmp_path / "strict.toml"
    strict.write_text("[limit.account]\nmessages_per_day = 1\n")
    everything = compare(trace, ("", replay.run(trace, Policy())), ("", replay.run(trace, load_policy(strict))))
    assert len(everything.senders) > 20
    found = report(trace, "--policy", strict)
    assert (len(found["senders"]), found["senders_left_out"]) == (20, len(everything.senders) - 20)
    assert len(report(trace, "--policy", strict, "--all")["senders"]) == len(everything.senders)


def test_outcomes_are_told_by_class() -> None:
    transaction = {
        "rcpt_to": ["a@x", "b@x", "c@x", "d@x"],
        "outcomes": {
            "ok_after": 1.0,
            "other": [
                {"rcpt": 1, "reply": "550 5.1.1 no such user", "after": 1.0},
                {"rcpt": 2, "reply": "451 4.7.1 later", "after": 1.0, "final": "250 2.0.0 OK", "final_after": 9.0},
                {"rcpt": 3, "reply": "550 5.7.1 this is spam", "after": 2.0, "async": True},
            ],
            "complaints": [{"rcpt": 0, "after": 99.0}],
        },
    }
    assert outcomes(transaction) == {"delivered": 2, "unknown_user": 1, "refused": 1, "complaint": 1}
    assert outcomes({"rcpt_to": ["a@x"], "outcomes": {}}) == {"unknown": 1}


def first_line(trace: Path, **other: Any) -> None:
    lines = (trace / "trace.jsonl").read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | other)
    (trace / "trace.jsonl").write_text("\n".join(lines) + "\n")


def test_a_trace_that_cannot_be_used_is_refused_with_one_line(trace: Path, tmp_path: Path) -> None:
    def refused(folder: Path = trace) -> str:
        said = backtest(folder, code=1).removeprefix("outbound-guard: ")
        assert len(said.splitlines()) == 1
        return said.strip()

    assert refused(tmp_path / "nowhere") == (
        f"{tmp_path / 'nowhere'}: is no directory; a trace is a directory with trace.jsonl and its messages"
    )
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty").endswith("neither trace.jsonl nor what the product records")
    good = (trace / "trace.jsonl").read_text()
    (trace / "trace.jsonl").write_text("")
    assert refused() == f"{trace / 'trace.jsonl'}: is empty"
    (trace / "trace.jsonl").write_text('{"id": "t0", "t": \n')
    assert refused().startswith(f"{trace / 'trace.jsonl'}: line 1: ")
    (trace / "trace.jsonl").write_text(good)
    first_line(trace, t="noon")
    assert "line 1: Expected `float`, got `str` - at `$.t`" in refused()
    first_line(trace, t=1_900_000_000.0)
    assert "line 2: is earlier than the line before" in refused()
    (trace / "trace.jsonl").write_text(good)
    first_line(trace, outcomes={"ok_after": 1.0, "other": [{"rcpt": 7, "reply": "550 x", "after": 1.0}]})
    assert "there is no recipient 7" in refused()
    (trace / "trace.jsonl").write_text(good)
    first_line(trace, message="messages.zbin:1:50")
    assert "the message 'messages.zbin:1:50' cannot be read: " in refused()
    (trace / "trace.jsonl").write_text(good)
    (trace / "messages.zbin").unlink()
    assert "cannot be read: No such file or directory" in refused()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[threshold]\nhold = 1.0\n", "threshold.hold: 1 is below watch"),
        ("[signal.nonsense]\n", "signal.nonsense: there is no such signal"),
        ("[signal.rate]\nfloor = 'x'\n", "signal.rate"),
        ("hold = ", "is not TOML"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_with_one_line(
    trace: Path, tmp_path: Path, text: str, said: str
) -> None:
    policy = tmp_path / "bad.toml"
    policy.write_text(text)
    error = backtest(trace, "--policy", policy, code=1)
    assert said in error
    assert len(error.strip().splitlines()) == 1
