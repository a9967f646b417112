"""What docs/operations.md says of parts that are down: each row is shown by a metric that there is and by a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from outbound_guard.metrics.table import METRICS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/operations.md").read_text()
RULES = "".join((ROOT / f"deploy/prometheus/outbound_guard.{name}.yml").read_text() for name in ("records", "alerts"))
TABLE = DOCUMENT.partition("## What happens when a part is down")[2].partition("\n## ")[0]
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" | "))
    for line in TABLE.split("\n")
    if line.startswith("| ") and not line.startswith("| part |")
]
PARTS = ("Redis", "ledger", "DNS", "scanner", "next hop", "disk", "clock")
"""What can be lost."""


def found(test: str) -> list[Path]:
    """The files that a word of the last column names: below tests/outage if it says no folder."""
    if test.startswith("scripts/"):
        return [ROOT / test.split()[0]]
    folder, _, name = test.rpartition("/")
    return sorted((ROOT / (folder or "tests/outage")).glob(name))


def test_the_table_is_there() -> None:
    assert len(ROWS) > 20
    assert {len(row) for row in ROWS} == {5}


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_each_row_names_tests_and_metrics_that_there_are(row: tuple[str, ...]) -> None:
    part, _, _, shown, tested = row
    previous, files = "", []
    for test in re.findall(r"`([^`]+)`", tested):
        # "`tests/unit/test_a.py`, `test_b.py`": in the same folder.
        folder = previous.rpartition("/")[0]
        candidates = found(test) or (found(f"{folder}/{test}") if folder and "/" not in test else [])
        assert candidates, f"{part}: {test}"
        assert all(file.is_file() for file in candidates)
        previous, files = test, [*files, *candidates]
    assert files, part
    named = [name for name in re.findall(r"`(\w+)(?:\{[^`]*\})?`", shown) if not name.isupper()]
    assert "none" in shown or named, part
    assert [name for name in named if name not in METRICS and not _label(shown, name)] == []


def _label(shown: str, word: str) -> bool:
    """True if it is another value of the label that stands before it: `x{result="timeout"}` (`down`)."""
    return re.search(rf"\{{[^}}]*\}}`[^)]*\([^)]*`{word}`", shown) is not None


@pytest.mark.parametrize("part", PARTS)
def test_every_part_that_can_be_lost_is_in_it_and_seen(part: str) -> None:
    rows = [row for row in ROWS if part.lower() in row[0].lower()]
    assert rows, part
    metrics = {name for row in rows for name in re.findall(r"`(\w+)", row[3])}
    # Of the clock nothing is measured: the host's own watch does that.
    assert part in ("DNS", "clock") or any(f"outbound_guard_{name}" in RULES for name in metrics), part
