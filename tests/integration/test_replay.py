"""Replay: the product as a relay under test, driven by programs that know nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.content.model import About, pack

PROGRAM = [sys.executable, "-m", "outbound_guard", "replay"]
LAB = Path(__file__).parents[3] / "shared" / "traffic"
CORPUS = LAB.parent / "corpus"


def small_trace(folder: Path) -> Path:
    """A mailbox that writes to a friend, and then, from everywhere, to strangers."""
    folder.mkdir()
    transactions, archive = [], b""
    for number in range(60):
        stolen = number >= 40
        zone, name, network = ("+0700", "Support", f"{number + 100}.0.113") if stolen else ("+0100", "Anna", "192.0.2")
        mailer = "X-Mailer: bulk 1" if stolen else "User-Agent: Thunderbird"
        message = zlib.compress(
            f"Received: from pc ([{network}.7])\r\n (Authenticated sender: anna@a.example)\r\n"
            f"\tby web1 (Postfix) with ESMTPSA id X; Mon, 2 Mar 2026 10:00:00 +0100\r\n"
            f"From: {name} <anna@a.example>\r\nTo: x@y.example\r\nSubject: note {number}\r\n"
            f"Date: Mon, 2 Mar 2026 10:00:00 {zone}\r\n{mailer}\r\n"
            f"\r\nnote {number}\r\n".encode()
        )
        to = f"stranger{number}@host{number}.example" if stolen else f"friend{number % 3}@y.example"
        transactions.append(
            {
                "id": f"t{number}",
                "t": 1_800_000_000.0 + (40 * 7200 + number * 60 if stolen else number * 7200),
                "client_ip": "198.51.100.1",
                "server": "web1",
                "sasl_user": "relay-web1",
                "helo": "web1",
                "mail_from": "anna@a.example",
                "rcpt_to": [to],
                "message": f"messages.zbin:{len(archive)}:{len(message)}",
                "size": 300,
                "outcomes": {"ok_after": 1.0}
                if not stolen
                else {"ok_after": 1.0, "other": [{"rcpt": 0, "reply": "550 5.1.1 user unknown", "after": 2.0}]},
            }
        )
        archive += message
    (folder / "messages.zbin").write_bytes(archive)
    with (folder / "trace.jsonl").open("w") as file:
        for transaction in transactions:
            file.write(json.dumps(transaction) + "\n")
    return folder


def stdio(events: list[dict[str, Any]], cwd: Path, *words: str) -> list[dict[str, Any]]:
    lines = "".join(json.dumps(event) + "\n" for event in events)
    done = subprocess.run(
        [*PROGRAM, "--stdio", *words], input=lines, capture_output=True, text=True, timeout=100, check=True, cwd=cwd
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def events_of(trace: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"ev": "start", "t": 0.0, "trace": str(trace), "servers": ["web1"]}]
    for line in (trace / "trace.jsonl").read_text().splitlines():
        transaction = json.loads(line)
        del transaction["outcomes"]
        events.append({"ev": "tx", **transaction})
    return [*events, {"ev": "end", "t": events[-1]["t"]}]


def test_stdio_answers_each_event_on_one_line_and_stops_the_thief(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "trace")
    # Only the archive is there: a relay under test must not need more.
    events = events_of(trace)
    (trace / "trace.jsonl").unlink()
    answers = stdio(events, tmp_path)
    assert len(answers) == len(events)
    assert answers[0] == answers[-1] == {}
    verdicts = answers[1:-1]
    assert {verdict["account"] for verdict in verdicts} == {"anna@a.example"}
    assert {verdict["action"] for verdict in verdicts[:40]} == {"relay"}
    assert not any(verdict["suspended"] for verdict in verdicts[:40])
    assert [verdict["action"] for verdict in verdicts[45:]] == ["quarantine"] * 15
    assert verdicts[-1]["score"] >= 9.0


def test_the_same_input_gives_the_same_verdicts(tmp_path: Path) -> None:
    events = events_of(small_trace(tmp_path / "trace"))
    assert stdio(events, tmp_path) == stdio(events, tmp_path)


def test_another_content_model(tmp_path: Path) -> None:
    # For this one every message is spam, whatever it says.
    model = tmp_path / "model.bin"
    model.write_bytes(pack({b"unheard": 1.0}, About(1.0, 2.0**-12, [0.0, 1.0], [2.5, 2.5])))
    events = events_of(small_trace(tmp_path / "trace"))[:3]
    packaged, other = stdio(events, tmp_path)[1], stdio(events, tmp_path, "--model", str(model))[1]
    assert not any("content +2.5" in reason for reason in packaged["reasons"])
    assert any("content +2.5" in reason for reason in other["reasons"])


def test_a_model_that_is_none_is_refused_with_one_line(tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"GIF89a")
    done = subprocess.run([*PROGRAM, "--stdio", "--model", model], input="", capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"outbound-guard: {model} is no content model\n"


def test_an_unknown_event_is_refused_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "--stdio"], input='{"ev": "nonsense", "t": 1}\n', capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "nonsense" in done.stderr


def test_replay_of_a_trace_writes_the_run(tmp_path: Path) -> None:
    trace, out = small_trace(tmp_path / "trace"), tmp_path / "run.jsonl"
    done = subprocess.run(
        [*PROGRAM, str(trace), "--out", str(out)], capture_output=True, text=True, timeout=100, check=True
    )
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(records) == 60
    assert {record["final"] for record in records} <= {"relay", "quarantine"}
    assert json.loads(done.stdout)["transactions"] == 60
    assert sum(record["final"] == "relay" for record in records) < 48


@pytest.mark.skipif(not LAB.is_dir(), reason="the traffic laboratory is not beside this clone")
def test_the_laboratory_drives_and_scores_it(tmp_path: Path) -> None:
    def lab(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-B", "-m", *words],
            cwd=tmp_path,
            env={"PYTHONPATH": str(LAB), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    trace = str(tmp_path / "trace")
    lab("tracelab.generate", "--corpus", str(CORPUS), "--out", trace, "--size", "tiny", "--seed", "1")
    run, score = str(tmp_path / "run.jsonl"), tmp_path / "score.json"
    lab("tracelab.driver", "--trace", trace, "--out", run, "--", *PROGRAM, "--stdio")
    lab("tracelab.score", "--trace", trace, "--run", run, "--json", str(score))
    result = json.loads(score.read_text())
    assert result["legit"]["messages"] > 100
    assert result["overall"]["accounts"] > 0
