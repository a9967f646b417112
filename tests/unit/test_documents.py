"""What documents and scripts say must be so."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outbound_guard.metrics.table import PREFIX, TABLE

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "outbound_guard"


def sources() -> str:
    return "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))


def test_the_configuration_reference_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/configuration-reference", "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_reply_word_is_documented_and_no_other() -> None:
    said = set(re.findall(r"\bOG-[A-Z0-9]+", sources()))
    table = (ROOT / "docs/replies.md").read_text().partition("## Words")[2]
    documented = set(re.findall(r"^\| `(OG-[A-Z0-9]+)`", table, re.M))
    # The policy's own words are made from reasons, see actions.py.
    assert documented - {"OG-LIMIT"} == said


def test_every_metric_is_documented_and_no_other() -> None:
    document = (ROOT / "docs/operations.md").read_text()
    rows = re.findall(r"^\| `(outbound_guard_\w+)` \| ([^|]*)\|", document, re.M)
    documented = {name: tuple(re.findall(r"\w+", labels)) for name, labels in rows}
    assert documented == {PREFIX + metric.name: metric.labels for metric in TABLE}


def test_every_log_type_is_documented_and_no_other() -> None:
    said = set(re.findall(r'(?:\.event\(\s*|tag_field="type", tag=)"([A-Z]\w+)"', sources()))
    log = (ROOT / "docs/operations.md").read_text().partition("## The mail log")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([A-Z]\w+)` \|", log, re.M)) == said


def test_every_file_that_a_document_links_to_exists() -> None:
    documents = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("deploy/**/*.md"),
        ROOT / "benchmarks/README.md",
    ]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    ]
    assert len(links) > 10
    assert [(d.name, t) for d, t in links if not (d.parent / t).exists()] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))


@pytest.mark.parametrize(
    "script",
    [
        path
        for path in [*sorted(ROOT.glob("scripts/*")), ROOT / ".ci/run"]
        if path.read_bytes().startswith(b"#!/bin/sh")
    ],
    ids=lambda path: path.name,
)
def test_scripts_are_posix_shell(script: Path) -> None:
    shell = shutil.which("dash") or "sh"
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert script.stat().st_mode & 0o111, "not executable"
