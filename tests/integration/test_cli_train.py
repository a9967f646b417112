"""`outbound-guard train`: a model from labelled mail, used at once; and what is said when none can be made."""

from __future__ import annotations

import json
import lzma
import random
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.__main__ import main
from outbound_guard.content import parse
from outbound_guard.content.labelled import in_half
from outbound_guard.content.model import load

BAD = ["cheap pills no prescription order now", "verify your mailbox password at once", "you won the lottery claim it"]
GOOD = ["the minutes of our meeting are attached", "your order was shipped today", "backup finished without errors"]


def message(text: str) -> str:
    return f"From: a@b.example\nTo: c@d.example\nSubject: note\n\n{text}\n"


def texts(spam: bool, count: int = 80) -> list[dict[str, Any]]:
    generator = random.Random(spam)
    return [
        {
            "label": "spam" if spam else "ham",
            "split": "train",
            "cluster": f"{spam}{number}",
            "raw": message(f"{generator.choice(BAD if spam else GOOD)} {generator.choice(['monday', 'friday'])}"),
        }
        for number in range(count)
    ]


def write_corpus(folder: Path, files: dict[str, list[dict[str, Any]]]) -> Path:
    folder.mkdir(parents=True)
    for name, records in files.items():
        with lzma.open(folder / f"{name}.jsonl.xz", "wt") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(
        tmp_path / "corpus",
        {
            "one-spam": texts(True),
            "two-spam": texts(True),
            "one-ham": texts(False),
            "two-ham": [*texts(False), {**texts(False)[0], "split": "dev"}],
            # Its terms forbid to learn from it.
            "phishing_pot-phish": [{"label": "phish", "raw": message("minutes of our meeting")}] * 80,
        },
    )


def write_trace(folder: Path) -> Path:
    folder.mkdir()
    archive, labels, places = b"", [], []
    for number in range(80):
        spam = number % 2 == 0
        text = message("free casino chips" if spam else "the disk is full")
        octets = zlib.compress(text.replace("\n", "\r\n").encode())
        labels.append({"label": "spam" if spam else "ham", "content": f"text:a{number}"})
        places.append({"message": f"messages.zbin:{len(archive)}:{len(octets)}"})
        archive += octets
    for name, lines in (("labels.jsonl", labels), ("trace.jsonl", places)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "messages.zbin").write_bytes(archive)
    return folder


def evidence(model: Path, text: str) -> float:
    return load(model).score(parse(message(text).replace("\n", "\r\n").encode()))[0]


def test_a_model_is_made_and_scores(corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, trace = tmp_path / "model.bin", write_trace(tmp_path / "trace")
    words = ["train", "--corpus", str(corpus), "--trace", str(trace), "--copies", "0", "--out", str(out), "--json"]
    assert main(words) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["file"] == str(out)
    assert said["octets"] == out.stat().st_size
    assert said["messages"] == 320 + 80
    assert evidence(out, "pills, no prescription") > 1
    assert evidence(out, "free casino chips") > evidence(out, "the disk is full")
    assert evidence(out, "the minutes of our meeting") < -1


def test_the_same_file_from_another_process(corpus: Path, tmp_path: Path) -> None:
    files = []
    for seed in ("1", "2"):
        out = tmp_path / f"model{seed}.bin"
        subprocess.run(
            [sys.executable, "-m", "outbound_guard", "train", "--corpus", corpus, "--copies", "1", "--out", out],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
            timeout=100,
        )
        files.append(out.read_bytes())
    assert files[0] == files[1]


def test_half_of_the_corpus(corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "model.bin")
    assert main(["train", "--corpus", str(corpus), "--half", "--copies", "0", "--out", out, "--json"]) == 0
    kept = sum(in_half(record["cluster"]) for spam in (True, False) for record in texts(spam))
    assert json.loads(capfd.readouterr().out)["messages"] == 2 * kept
    assert 0 < kept < 160


def test_few_sources_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # In a folder called mail, as in a corpus that holds more than mail.
    write_corpus(tmp_path / "corpus" / "mail", {"all": texts(True) + texts(False)})
    out = tmp_path / "model.bin"
    assert main(["train", "--corpus", str(tmp_path / "corpus"), "--copies", "0", "--out", str(out)]) == 0
    said = capfd.readouterr()
    assert "flatters" in said.err
    assert f"{out} written" in said.out
    assert evidence(out, "pills, no prescription") > 0.5


def test_what_cannot_be_learned_from_is_said_in_one_line(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str) -> str:
        assert main(["train", "--copies", "0", *words]) == 1
        error = capfd.readouterr().err.splitlines()
        assert len(error) == 1
        return error[0]

    out = str(tmp_path / "model.bin")
    assert "expected files named *.jsonl.xz" in refused("--corpus", str(tmp_path), "--out", out)
    assert "No such file" in refused("--corpus", str(corpus), "--out", str(tmp_path / "none" / "model.bin"))
    assert "labels.jsonl: No such file" in refused("--corpus", str(corpus), "--trace", str(tmp_path), "--out", out)
    few = write_corpus(tmp_path / "few", {"some": texts(True, 30) + texts(False, 3)})
    assert "30 spam and 3 ham to learn from" in refused("--corpus", str(few), "--out", out)
    unlabelled = write_corpus(tmp_path / "unlabelled", {"some": [*texts(True, 2), {"raw": "x"}]})
    assert "some.jsonl.xz: line 3 is no message with its label: it has no 'label'" in refused(
        "--corpus", str(unlabelled), "--out", out
    )
    (unlabelled / "some.jsonl.xz").write_bytes(b"no archive")
    assert "some.jsonl.xz: line 1 is no message" in refused("--corpus", str(unlabelled), "--out", out)
    # What was there is still there, and nothing half-made is.
    assert not Path(out).exists()


def test_the_options_are_needed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert "--corpus" in capfd.readouterr().err
