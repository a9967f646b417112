"""A fuzz target: a function that takes any octets and raises if what the product makes of them is wrong.

The same function serves the ordinary tests (hypothesis makes the octets), `scripts/fuzz` (atheris makes them, led by
what of the code they reach) and the findings (`found/TARGET/NAME`, kept for good).
"""

from __future__ import annotations

import contextlib
import json
import logging
import lzma
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

TESTS = Path(__file__).resolve().parents[1]
FOUND = TESTS / "fuzz" / "found"
ROBUSTNESS = TESTS.parents[1] / "shared" / "corpus" / "robustness"
_T = TypeVar("_T")


@contextlib.contextmanager
def quiet(*names: str) -> Iterator[None]:
    """What these loggers have to say about hostile input goes nowhere meanwhile; around a function by `@quiet(…)`."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class Target(msgspec.Struct, frozen=True):
    """What can be fuzzed by itself."""

    attempt: Callable[[bytes], None]
    """Raises, whatever it is, if the product is wrong; returns if all is well, also with refused input."""
    seeds: Callable[[], Iterator[bytes]]
    """Inputs that get somewhere."""
    words: Sequence[bytes] = ()
    """Pieces of which inputs are made."""
    lead: int = 0
    """So many octets in front are choices, see Choices."""
    longest: int = 4096


class Choices:
    """Decisions read from the front of the octets, so that a fuzzer can learn them; what is left is the input."""

    def __init__(self, octets: bytes) -> None:
        self._octets, self._at = octets, 0

    def number(self, below: int) -> int:
        """0 to below - 1 (256 at most); 0 when the octets have run out."""
        found = self._octets[self._at : self._at + 1]
        self._at += 1
        return found[0] % below if found else 0

    def one(self, things: Sequence[_T]) -> _T:
        """One of them."""
        return things[self.number(len(things))]

    def rest(self) -> bytes:
        """All that has not been used."""
        return self._octets[self._at :]


def holds(condition: object, *what: object) -> None:
    """An assertion that also holds where Python leaves `assert` out, and says what it was about."""
    if not condition:
        raise AssertionError(" ".join(map(repr, what)))


def one_line(text: str) -> bool:
    """True if a text can neither end a line, nor steer a terminal, nor turn the direction of writing unseen."""
    return not any(c < " " or "\x7f" <= c < "\xa0" or c in "\u2028\u2029" for c in text)


def pieces(octets: bytes, seed: int) -> list[bytes]:
    """`octets` cut up: seed 0 leaves them whole, 1 cuts after each, 2 after each line, others somewhere."""
    if seed < 2:
        return [octets] if seed == 0 else [octets[at : at + 1] for at in range(len(octets))]
    if seed == 2:
        return octets.splitlines(keepends=True) or [b""]
    found, at, step = [], 0, seed
    while at < len(octets):
        # Small steps and large ones, without a library of dice: the same seed cuts in the same places for ever.
        step = (step * 137 + 59) % 251
        size = 1 + step % (7 if seed % 2 else 97)
        found.append(octets[at : at + size])
        at += size
    return found


def files(folder: str, pattern: str) -> Iterator[bytes]:
    """What is in the files of a folder of tests."""
    for path in sorted((TESTS / folder).glob(pattern)):
        yield path.read_bytes()


def robustness(kind: str, most: int = 200, longest: int = 20_000) -> Iterator[bytes]:
    """Messages of the robustness corpus, with CRLF line ends; none where it is not beside the project."""
    path = ROBUSTNESS / f"{kind}.jsonl.xz"
    if path.is_file():
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for _, line in zip(range(most), lines, strict=False):
                raw = json.loads(line)["raw"].encode("latin-1")
                if len(raw) <= longest:
                    yield raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def scratch() -> Path:
    """A folder of this process for files that a target must write; in memory where the system has such a place."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    if not _scratch:
        _scratch.append(tempfile.TemporaryDirectory(prefix="fuzz-", dir=place))
    return Path(_scratch[0].name)


_scratch: list[tempfile.TemporaryDirectory[str]] = []
