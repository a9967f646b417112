"""The message reader against its reference; and what is sent on, read by a plain receiver: the same octets again."""

from __future__ import annotations

from collections.abc import Iterator

from outbound_guard.delivery.wire import framed
from outbound_guard.edge.data import DataReader, hops
from outbound_guard.edge.room import Room
from outbound_guard.mail import Headers, without_fields
from tests.fuzz.data_streams import PIECES, SOUND, Outcome, read, reference
from tests.fuzz.target import Choices, Target, holds, pieces, robustness, scratch

STRIPPED = ("x-authuser", "x-php-script")
LIMITS = (10_000, 0, 1, 2, 5, 20, 60, 200)


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    limit, seed, again = choices.one(LIMITS), choices.number(256), choices.number(256)
    stream = choices.rest()
    expected = reference(stream, limit)
    holds(read(pieces(stream, seed), limit) == expected, stream, limit, seed)
    by_disk(pieces(stream, again), limit, expected)
    if expected is None or expected[1] is None:
        # Whatever lies in the spool, the next hop must see one message, and nothing behind it.
        sent_on(stream, again)
        return
    content = expected[1]
    holds(content == b"" or content.endswith(b"\r\n"), content)
    sent_on(content, again)
    stripped(content)


def by_disk(chunks: list[bytes], limit: int, expected: Outcome | None) -> None:
    """The same where there is hardly any room in memory; and the room is free again, whatever came of it."""
    room = Room(limit % 7, scratch())
    reader = DataReader(limit, room)
    done = any(reader.feed(chunk) for chunk in chunks)
    holds(done == (expected is not None), chunks)
    if done and expected is not None:
        holds(reader.fault == expected[0], reader.fault, expected)
        if reader.fault is None:
            content = reader.content() if reader.overflow is None else reader.from_disk()
            holds(content == expected[1], "another message from disk", content, expected)
    reader.close()
    reader.close()
    holds(room.used == 0 and room.on_disk == 0, "keeps room", room.used, room.on_disk)


def sent_on(content: bytes, seed: int) -> None:
    """In wire form it ends where it ends, and a receiver that takes off the stuffing has it as it was."""
    wire = b"".join(framed(pieces(content, seed)))
    end = (b"\r\n" + wire).find(b"\r\n.\r\n")
    holds(end + 3 == len(wire), "ends too early", content, wire)
    lines = wire[: -len(b".\r\n")].split(b"\r\n")
    received = b"\r\n".join(line.removeprefix(b".") for line in lines)
    whole = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    holds(received == whole, "is another message", content, wire)


def stripped(content: bytes) -> None:
    """A field that is taken out is gone with its folded lines; every other line stays as it is."""
    headers = Headers(content)
    holds(content[: headers.end].count(b"\r\n\r\n") <= 1, content)
    left = b"".join(without_fields(content, headers.end, STRIPPED))
    holds(left.endswith(content[headers.end :]), "the body changed", content)
    after = Headers(left)
    kept: list[bytes] = []
    taken = False
    for line in content[: headers.end].split(b"\r\n"):
        if not line.startswith((b" ", b"\t")) or not (kept or taken):
            name = line.partition(b":")[0].rstrip(b" \t").lower().decode("latin-1")
            taken = name in STRIPPED and b":" in line
        if not taken:
            kept.append(line)
    holds(left[: len(left) - len(content[headers.end :])] == b"\r\n".join(kept), content, left)
    holds(not any(name in after for name in STRIPPED) or _begins_with_fold(content), content, left)
    holds(hops(content) <= content.lower().count(b"received:"), content)


def _begins_with_fold(content: bytes) -> bool:
    # A message cannot begin with a line that continues another one; what such a line says is nobody's field.
    return content[:1] in (b" ", b"\t")


def seeds() -> Iterator[bytes]:
    yield b"\0\0\0"
    yield b"\0\1\1.\r\n"
    yield b"\0\2\3a\r\n.\r\nQUIT\r\n"
    yield b"\0\0\0..a\r\n.b\r\n...\r\n.\r\n"
    yield b"\2\1\1abc\r\n.\r\n"
    yield b"\0\1\1a\n.\r\n\r\n.\r\n"
    yield b"\0\5\5X-AuthUser: a\r\n b\r\nSubject: c\r\nX-PHP-Script : d\r\n\r\nbody\r\n.\r\n"
    yield b"\0\5\5X-AuthUser\r\n : a\r\nX-AuthUser: b\r\nX-PHP-Script\r\n\t: d\r\n\r\nbody\r\n.\r\n"
    for content in robustness("malformed", 60, 3000):
        yield b"\0\7\x011" + content.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n"


WORDS = (*PIECES, *SOUND, b"\r\n.\r\n", b"X-AuthUser:", b"\r\n x", b"Received: ", b"\r\n\r\n")
TARGET = Target(attempt, seeds, tuple(dict.fromkeys(WORDS)), lead=3)
