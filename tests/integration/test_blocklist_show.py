"""`blocklist show`: what is known, for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from outbound_guard.blocklist.keeping import put
from outbound_guard.blocklist.listing import Listing
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.listing_queries import put_own_addresses

GUARD = Path(sys.executable).with_name("outbound-guard")
ONE, TWO = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "guard.toml").write_text(
        '[server]\ndata_dir = "data"\n[delivery]\nmode = "sink"\n'
        '[blocklist]\ncustomers = { "shop.example" = ["192.0.2.1"] }\n'
    )
    (tmp_path / "data").mkdir()
    ledger = Ledger(url_of("embedded", tmp_path / "data"), writer=True)
    ledger.migrate()

    def said(subject: str, zone: str, state: str, code: str = "") -> Listing:
        return Listing(subject=subject, zone=zone, state=state, codes=tuple(code.split()), reason=f"why\x1b {state}")

    put(ledger, [said(ONE, "a.test", "listed", "127.0.0.2"), said(ONE, "b.test", "clean")], 1000.0)
    put(ledger, [said(TWO, "a.test", "unknown"), said(TWO, "b.test", "listed", "127.0.0.3")], 1000.0)
    put(ledger, [said(ONE, "a.test", "unknown", "10.0.0.1"), said("ours.example", "c.test", "clean")], 2000.0)
    row = {"pool": "default", "since": 2000.0, "reason": "listed by b.test (weight 3)"}
    put_own_addresses(ledger, [row | {"address": TWO, "state": "resting"}])
    ledger.close()
    return tmp_path


def show(folder: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [GUARD, "blocklist", "show", *words, "--config", folder / "guard.toml"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_addresses_by_lists(folder: Path) -> None:
    lines = [line.split() for line in show(folder).splitlines() if line]
    assert lines[:3] == [
        ["1", "a.test:", "2", "unknown"],
        ["2", "b.test:", "1", "listed,", "1", "clean"],
        ["3", "c.test:", "1", "clean"],
    ]
    # What is listed comes first; what was listed when last known is not forgotten.
    assert lines[4:7] == [[TWO, "resting", "?", "X"], [ONE, "shop.example", "x", "."], ["ours.example", "."]]


def test_one_address(folder: Path) -> None:
    said = show(folder, TWO)
    assert "state:  resting since" in said or "state: resting since" in said
    assert "listed by b.test (weight 3)" in said
    assert "127.0.0.3" in said
    assert "\x1b" not in said
    assert "account: shop.example" in show(folder, ONE)
    assert "Nothing is known of 192.0.2.9." in show(folder, "192.0.2.9")
    assert "is no address and no domain" in show(folder, "nonsense", code=2)


def test_history(folder: Path) -> None:
    lines = show(folder, "--history").splitlines()[1:]
    assert [line.split()[2:5] for line in lines] == [
        [ONE, "a.test", "unknown"],
        [TWO, "b.test", "listed"],
        [ONE, "a.test", "listed"],
    ]
    assert len(show(folder, "--history", "--limit", "1").splitlines()) == 2


def test_json(folder: Path) -> None:
    found = json.loads(show(folder, ONE, "--json"))
    assert [(row["zone"], row["state"], row["known"], row["codes"]) for row in found["listings"]] == [
        ("a.test", "unknown", "listed", ["10.0.0.1"]),
        ("b.test", "clean", "clean", []),
    ]
    assert [row["state"] for row in found["history"]] == ["unknown", "listed"]
    assert found["addresses"] == []
    assert [row["account"] for row in found["listings"]] == ["shop.example", "shop.example"]
    assert json.loads(show(folder, "--json"))["addresses"][0]["address"] == TWO
