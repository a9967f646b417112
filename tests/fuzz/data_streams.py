"""Streams for the fuzz of the message reader, and a reference that reads them line by line, slowly and plainly.

As a program it tries streams until its time is over: `python -m tests.fuzz.data_streams SECONDS [SEED]`.
"""

from __future__ import annotations

import random
import sys
import time

from outbound_guard.edge.data import DataReader

PIECES = (
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b".",
    b".",
    b"\r\n.",
    b".\r\n",
    b"\r\n.\r\n",
    b"a",
    b"bc",
    b"\0",
    b"\xff",
)
"""What streams are made of: nearly nothing but what can go wrong."""

SOUND = (b"\r\n", b"\r\n.", b"\r\n..", b"a", b"b.", b"cdefg", b"x" * 40)
"""The same without bare CR and LF, so that the size is what decides."""

Outcome = tuple[str | None, bytes | None, bytes]
"""Fault, content if there is no fault, and what is left over."""


def reference(stream: bytes, limit: int) -> Outcome | None:
    """What a reader must make of `stream`: None if the message does not end in it."""
    content, place, bare = b"", 0, False
    while (end := stream.find(b"\r\n", place)) >= 0:
        line, place = stream[place:end], end + 2
        if line == b".":
            if bare:
                return "line_end", None, stream[place:]
            if len(content) > limit:
                return "size", None, stream[place:]
            return None, content, stream[place:]
        bare = bare or b"\r" in line or b"\n" in line
        content += line.removeprefix(b".") + b"\r\n"
    return None


def read(chunks: list[bytes], limit: int) -> Outcome | None:
    """What our reader makes of it, fed in chunks; what comes after its end is left over."""
    reader = DataReader(limit)
    for number, chunk in enumerate(chunks):
        if reader.feed(chunk):
            rest = reader.rest + b"".join(chunks[number + 1 :])
            return reader.fault, None if reader.fault else reader.content(), rest
        # Never more than the limit, the end, and the chunk at hand.
        assert len(reader._content) <= limit + 2
    return None


def cut(dice: random.Random, stream: bytes) -> list[bytes]:
    """`stream` in chunks, from whole to octet by octet."""
    longest = dice.choice((1, 2, 3, 5, 8, 50, 10_000))
    chunks, place = [], 0
    while place < len(stream):
        step = dice.randint(1, longest)
        chunks.append(stream[place : place + step])
        place += step
    return chunks


def one(dice: random.Random) -> tuple[bytes, list[bytes], int]:
    """A random stream, cut up, and a limit: half the time one that decides."""
    pieces = PIECES if dice.random() < 0.6 else SOUND
    stream = b"".join(dice.choices(pieces, k=dice.randint(0, 30)))
    if dice.random() < 0.7:
        stream += b"\r\n.\r\n" + b"".join(dice.choices(pieces, k=dice.randint(0, 4)))
    limit = 10_000 if dice.random() < 0.5 else max(0, len(stream) - dice.randint(0, 12))
    return stream, cut(dice, stream), limit


def attempt(dice: random.Random, seen: dict[str, int]) -> None:
    """Try one stream. Raises AssertionError that tells how to see it again."""
    stream, chunks, limit = one(dice)
    expected, ours = reference(stream, limit), read(chunks, limit)
    assert ours == expected, f"{chunks!r} with limit {limit}: {ours!r}, but should be {expected!r}"
    outcome = "unfinished" if expected is None else expected[0] or "accepted"
    seen[outcome] = seen.get(outcome, 0) + 1


def main(arguments: list[str]) -> int:
    """Try streams for so many seconds; 1 if one was read wrongly."""
    seconds = float(arguments[0]) if arguments else 60.0
    seed = int(arguments[1]) if len(arguments) > 1 else random.SystemRandom().getrandbits(32)
    dice, seen, until = random.Random(seed), dict[str, int](), time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            for _ in range(1000):
                attempt(dice, seen)
    except AssertionError as error:
        print(f"message reader, seed {seed}: {error}", file=sys.stderr)
        return 1
    print(
        f"message reader: {sum(seen.values())} streams, seed {seed}: "
        + ", ".join(f"{seen[k]} {k}" for k in sorted(seen))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
