"""The journal's lines and file names. A newer version must be able to read what an older one left behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import segments
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import (
    AccountEntry,
    Audit,
    Decision,
    Delivered,
    HeldChange,
    Record,
    Standing,
    decode,
    encode,
)
from outbound_guard.mail import Signal

LINES: tuple[tuple[bytes, Record], ...] = (
    (
        b'{"type":"decision","id":"m1","received":1.5,"account":"example.org","sender":"a@example.org","action":"hold",'
        b'"score":4.0,"code":"OG-X","reason":"why","signals":[{"name":"rate","weight":4.5,"reason":"r","volume":true,'
        b'"shadow":false},{"name":"novelty","weight":-0.5,"reason":"n","volume":false,"shadow":false}],'
        b'"recipients":["x@example.net"],"state":"held","due":9.0}',
        Decision(
            "m1",
            1.5,
            "example.org",
            "a@example.org",
            "hold",
            4.0,
            "OG-X",
            "why",
            (Signal("rate", 4.5, "r", volume=True), Signal("novelty", -0.5, "n")),
            recipients=("x@example.net",),
            state="held",
            due=9.0,
        ),
    ),
    (
        b'{"type":"delivered","id":"m1","time":2.0,"recipient":"x@example.net","code":451,"enhanced":"4.4.1",'
        b'"text":"later","peer":"127.0.0.1:25","final":false}',
        Delivered("m1", 2.0, "x@example.net", 451, "4.4.1", "later", "127.0.0.1:25", final=False),
    ),
    (b'{"type":"held","id":"m1","time":3.0,"to":"released","by":"ann"}', HeldChange("m1", 3.0, "released", "ann")),
    (
        b'{"type":"standing","time":4.0,"scope":"sender","subject":"a@example.org","change":"suspended","until":8.0}',
        Standing(4.0, "sender", "a@example.org", "suspended", until=8.0),
    ),
    (b'{"type":"audit","time":5.0,"by":"ann","what":"held.release"}', Audit(5.0, "ann", "held.release")),
    (
        b'{"type":"account","time":6.0,"account":"c1","senders":["*@example.org"]}',
        AccountEntry(6.0, "c1", senders=("*@example.org",)),
    ),
)


@pytest.mark.parametrize(("line", "record"), LINES, ids=[type(record).__name__ for _, record in LINES])
def test_lines_are_written_and_read_as_ever(line: bytes, record: Record) -> None:
    assert decode(line) == record
    assert decode(encode(record)) == record
    # Signals may name their defaults or leave them out.
    if not isinstance(record, Decision):
        assert encode(record) == line


@pytest.mark.parametrize(("line", "record"), LINES, ids=[type(record).__name__ for _, record in LINES])
def test_fields_of_a_later_version_are_passed_over(line: bytes, record: Record) -> None:
    assert decode(line[:-1] + b',"of_tomorrow":[1]}') == record


def test_the_contributions_still_add_up_after_the_round_trip() -> None:
    weights = (0.1, 0.2, 0.7000000000000001, -3.3333333333333335, 1e-9, 12.0)
    record = Decision(
        "m1",
        1.0,
        "a",
        "s",
        "relay",
        score=sum(weights),
        signals=tuple(Signal(f"s{number}", weight, "") for number, weight in enumerate(weights)),
    )
    again = decode(encode(record))
    assert isinstance(again, Decision)
    # To the last bit: JSON carries the shortest text that means the same number.
    assert sum(signal.weight for signal in again.signals) == again.score == record.score


def test_file_names(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "relay-0", VirtualClock(1_700_000_000.25))
    journal.append(LINES[4][1])
    journal.flush()
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"01700000000250-00000000-[0-9a-f]{8}-relay-0\.open", path.name)
    journal.close()
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".jsonl"
    assert segments.slot_of(path.name) == "relay-0"
    assert path.read_bytes() == LINES[4][0] + b"\n"
