"""Three hosts on a cluster of six, and on sentinels, lose nothing whatever is taken from them under load.

It is `python -m benchmarks.hosts` with one repetition. How long things took is said in its tables; here only what has
to hold on the busiest machine is looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import postgres

FAULTS = {"cluster of six": 5, "master, replica, three sentinels": 2}
DECISIONS = 7


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_masters_die_and_postgresql_goes_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    postgres.needed()
    command = [sys.executable, "-m", "benchmarks.hosts", "--repetitions", "1", "--rate", "5", "--away", "3"]
    done = subprocess.run(
        [*command, "--results", tmp_path],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=2300,
        check=False,
    )
    assert (tmp_path / "hosts.json").exists(), done.stderr[-5000:]
    parts = {part["state"]: part for part in json.loads((tmp_path / "hosts.json").read_text())["parts"]}
    assert {name: len(part["costs"]) for name, part in parts.items()} == FAULTS
    assert len(parts["cluster of six"]["acts"]) == DECISIONS
    for part in parts.values():
        counted = part["counted"]
        assert counted.pop("messages") > 0
        assert set(counted.values()) == {0}, counted
        # Mail was taken all the while, each message at its first offer.
        assert all(cost["accepted"] > 0 and cost["other"] == 0 for cost in part["costs"]), part["costs"]
