"""The journal: what is appended is found again, and trouble with the disk never reaches the mail."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import journal as journal_module
from outbound_guard.ledger import segments
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, Record, decode
from tests.records import decision


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


class Timers:
    """Stands for an event loop's call_later."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, delay: float, call: Callable[[], None]) -> None:
        self.waiting.append((delay, call))

    def fire(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _, call in waiting:
            call()


def found(directory: Path) -> list[Record]:
    """The whole records in all segments, open ones too."""
    records = []
    for path in sorted(directory.iterdir()):
        for line, whole in segments.lines(path.read_bytes()):
            if whole:
                records.append(decode(line))
    return records


@contextmanager
def disk_full(octets: int) -> Iterator[None]:
    """No file grows beyond `octets`; the write that would is cut short, the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def audits(number: int, start: int = 0) -> list[Audit]:
    return [Audit(time=1.0, by="t", what="test", subject=str(start + n), detail="x" * 200) for n in range(number)]


def test_nothing_is_written_before_the_timer_and_one_timer_serves_many(tmp_path: Path, clock: VirtualClock) -> None:
    timers = Timers()
    journal = Journal(tmp_path, "relay-0", clock, timers)
    for record in audits(3):
        journal.append(record)
    assert list(tmp_path.iterdir()) == []
    assert [delay for delay, _ in timers.waiting] == [journal_module.FLUSH_SECONDS]
    timers.fire()
    assert found(tmp_path) == audits(3)


def test_a_segment_is_sealed_after_a_second_and_then_no_timer_is_left(tmp_path: Path, clock: VirtualClock) -> None:
    timers = Timers()
    journal = Journal(tmp_path, "relay-0", clock, timers)
    journal.append(decision())
    timers.fire()
    assert segments.sealed(tmp_path) == []
    clock.advance(1.0)
    timers.fire()
    assert len(segments.sealed(tmp_path)) == 1
    assert timers.waiting == []
    assert found(tmp_path) == [decision()]


def test_a_clock_set_back_seals_too(tmp_path: Path, clock: VirtualClock) -> None:
    journal = Journal(tmp_path, "relay-0", clock)
    journal.append(decision())
    clock.advance(-3600)
    journal.flush()
    journal.append(decision())
    clock.advance(-3600)
    journal.flush()
    assert len(segments.sealed(tmp_path)) >= 1


def test_a_big_segment_is_sealed_at_once(tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEAL_BYTES", 1000)
    journal = Journal(tmp_path, "relay-0", clock)
    for record in audits(10):
        journal.append(record)
    journal.flush()
    assert len(segments.sealed(tmp_path)) == 1


def test_names_sort_in_the_order_of_opening(tmp_path: Path, clock: VirtualClock) -> None:
    journal = Journal(tmp_path, "relay-0", clock)
    for number in range(12):
        journal.append(Audit(time=float(number), by="t", what="test"))
        journal.close()
    assert [record.time for record in found(tmp_path) if isinstance(record, Audit)] == list(range(12))


def test_the_open_segment_of_a_dead_writer_is_adopted_by_its_slot(tmp_path: Path, clock: VirtualClock) -> None:
    dead = tmp_path / "00000000000001-00000000-aaaaaaaa-relay-0.open"
    other = tmp_path / "00000000000001-00000000-bbbbbbbb-relay-1.open"
    for path in (dead, other):
        path.write_bytes(b'{"type":"audit","time":1.0,"by":"t","what":"test"}\n')
    Journal(tmp_path, "relay-0", clock)
    assert [path.name for path in segments.sealed(tmp_path)] == ["00000000000001-00000000-aaaaaaaa-relay-0.jsonl"]
    assert other.exists()


def test_the_open_segment_of_a_living_writer_is_left_alone(tmp_path: Path, clock: VirtualClock) -> None:
    living = Journal(tmp_path, "relay-0", clock)
    living.append(decision("m1"))
    living.flush()
    Journal(tmp_path, "relay-0", clock)
    assert segments.adopt(tmp_path) == 0
    living.append(decision("m2"))
    living.close()
    assert [record.id for record in found(tmp_path)] == ["m1", "m2"]  # type: ignore[union-attr]


def test_slots_may_contain_dashes() -> None:
    assert segments.slot_of("00000000000001-00000000-aaaaaaaa-cli-4711.open") == "cli-4711"
    assert segments.slot_of("something.else") == ""


def test_a_torn_last_line_is_told_from_whole_ones() -> None:
    assert list(segments.lines(b"one\n\ntwo\nthr")) == [(b"one", True), (b"two", True), (b"thr", False)]


def test_a_full_disk_keeps_the_records_in_order_and_whole(tmp_path: Path, clock: VirtualClock) -> None:
    journal = Journal(tmp_path, "relay-0", clock)
    for record in audits(100):
        journal.append(record)
    journal.flush()
    with disk_full(30_000):
        for record in audits(100, 100):
            journal.append(record)
        journal.flush()
        journal.flush()
        assert journal.failures == 2
        assert journal.failing
        # The half that fitted has been taken back.
        assert found(tmp_path) == audits(100)
        assert journal.waiting > 0
    journal.flush()
    assert not journal.failing
    assert found(tmp_path) == audits(200)
    assert journal.lost == 0


def test_memory_is_bounded_and_what_is_given_up_is_counted(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "KEEP_BYTES", 5_000)
    monkeypatch.setattr(journal_module, "FLUSH_BYTES", 1_000)
    journal = Journal(tmp_path, "relay-0", clock)
    with disk_full(0):
        for record in audits(100):
            journal.append(record)
        assert journal.waiting < 6_000
    kept = 100 - journal.lost
    assert 0 < kept < 100
    journal.flush()
    assert found(tmp_path) == audits(kept)


def test_write_is_on_disk_when_it_returns_and_keeps_the_order(tmp_path: Path, clock: VirtualClock) -> None:
    journal = Journal(tmp_path, "console", clock)
    journal.append(decision("m1"))
    journal.write(decision("m2"), decision("m3"))
    assert [record.id for record in found(tmp_path)] == ["m1", "m2", "m3"]  # type: ignore[union-attr]


def test_a_write_that_fails_raises_and_leaves_nothing_behind(tmp_path: Path, clock: VirtualClock) -> None:
    journal = Journal(tmp_path, "console", clock)
    journal.append(decision("m1"))
    journal.flush()
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    with disk_full(size + 50), pytest.raises(OSError, match="File too large"):
        journal.write(*audits(3))
    journal.append(decision("m2"))
    journal.close()
    assert found(tmp_path) == [decision("m1"), decision("m2")]


def test_a_directory_that_is_away_stops_nothing_and_is_made_when_possible(tmp_path: Path, clock: VirtualClock) -> None:
    place = tmp_path / "gone"
    place.write_text("a file in the way")
    journal = Journal(place, "relay-0", clock)
    journal.append(decision())
    journal.flush()
    assert journal.failing
    place.unlink()
    journal.close()
    assert found(place) == [decision()]
    assert place.stat().st_mode & 0o777 == 0o700
    assert next(place.iterdir()).stat().st_mode & 0o777 == 0o600


def test_text_that_is_no_unicode_is_recorded_all_the_same(tmp_path: Path, clock: VirtualClock) -> None:
    journal = Journal(tmp_path, "relay-0", clock)
    journal.append(decision(subject="caf\udce9", recipients=("\udcff@example.net",)))
    journal.close()
    (record,) = found(tmp_path)
    assert record == decision(subject="caf?", recipients=("?@example.net",))


def test_closing_twice_and_going_on_afterwards(tmp_path: Path, clock: VirtualClock) -> None:
    journal = Journal(tmp_path, "relay-0", clock)
    journal.close()
    journal.append(decision("m1"))
    journal.close()
    journal.close()
    journal.append(decision("m2"))
    journal.close()
    assert len(segments.sealed(tmp_path)) == 2
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".open")]
