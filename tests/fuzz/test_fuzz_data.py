"""The message reader against a line-based reference, however the stream is cut. `scripts/fuzz` does this for longer."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outbound_guard.edge.data import DataReader
from tests.fuzz import data_streams
from tests.fuzz.data_streams import PIECES, SOUND, attempt, main, read, reference


def streams(pieces: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda parts, ended, rest: b"".join(parts) + (b"\r\n.\r\n" if ended else b"") + rest,
        st.lists(st.sampled_from(pieces), max_size=40),
        st.booleans(),
        st.sampled_from((b"", b".", b"\r\n", b"QUIT\r\n", b".\r\n")),
    )


def chunks(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    return [stream[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=400, deadline=None)
@given(streams(PIECES), st.lists(st.integers(0, 10_000), max_size=30))
@example(b"\r\n.\r\n", [1, 2, 3, 4])
@example(b"a\r.\r\n\r\n.\r\n", [2, 3])
def test_however_it_is_cut(stream: bytes, cuts: list[int]) -> None:
    assert read(chunks(stream, cuts), 10_000) == reference(stream, 10_000)


@settings(max_examples=400, deadline=None)
@given(streams(SOUND), st.lists(st.integers(0, 10_000), max_size=30), st.integers(0, 300))
def test_oversize(stream: bytes, cuts: list[int], limit: int) -> None:
    assert read(chunks(stream, cuts), limit) == reference(stream, limit)


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
