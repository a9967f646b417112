"""The message reader against a line-based reference, however the stream is cut. `scripts/fuzz` does this for longer."""

from __future__ import annotations

import itertools
import random

import pytest

from outbound_guard.edge.data import DataReader
from tests.fuzz import data_streams
from tests.fuzz.data_streams import attempt, main, read, reference


@pytest.mark.parametrize("stream", [b"\r\n.\r\n", b".\r\n", b"a\r.\r\n\r\n.\r\n", b"..\r\n.\r\n.\r\n"])
def test_wherever_it_is_cut_twice(stream: bytes) -> None:
    for one, two in itertools.combinations(range(len(stream) + 1), 2):
        chunks = [stream[:one], stream[one:two], stream[two:]]
        assert read([chunk for chunk in chunks if chunk], 10_000) == reference(stream, 10_000)


def test_many_streams_reach_every_outcome() -> None:
    dice, seen = random.Random(20_000), dict[str, int]()
    for _ in range(20_000):
        attempt(dice, seen)
    # A fuzz that hardly ever gets somewhere shows nothing about it.
    assert min(seen[outcome] for outcome in ("accepted", "line_end", "size", "unfinished")) > 500


class NoVirtualLineEnd(DataReader):
    """Forgets that a message starts at the start of a line."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._last = b"xx"


class KeepsTooLittle(DataReader):
    """Loses part of an end that lies in two chunks."""

    def feed(self, chunk: bytes) -> bool:
        done = super().feed(chunk)
        self._last = self._last[-3:]
        return done


class Lenient(DataReader):
    """Does not look at line ends."""

    def _keep(self, chunk: bytes, stuffed: bool) -> None:
        super()._keep(chunk, stuffed)
        if self.fault == "line_end":
            self.fault = None


class OneMore(DataReader):
    """Accepts an octet too many."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit + 1)


@pytest.mark.parametrize("wrong", [NoVirtualLineEnd, KeepsTooLittle, Lenient, OneMore])
def test_the_fuzz_finds_a_mistake(
    wrong: type[DataReader], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data_streams, "DataReader", wrong)
    assert main(["20", "1"]) == 1
    assert "seed 1" in capsys.readouterr().err
