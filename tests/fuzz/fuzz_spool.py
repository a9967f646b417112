"""Files of the spool and the journal as a broken disk may leave them: read or set aside, and never fatal."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
from collections.abc import Iterator

import msgspec

from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import segments
from outbound_guard.ledger.records import decode
from outbound_guard.mail import Asked, Envelope
from outbound_guard.reply import Reply
from outbound_guard.spool import Entry, Failure, NotInSpool, Progress, Spool
from outbound_guard.spool.entry import Corrupt, decode_entry, decode_progress, encode_entry, encode_progress
from tests.fuzz.target import Choices, Target, holds, quiet, scratch

ID = "0123456789abcdef"
ENTRY = Entry(
    ID,
    1.7e9,
    Envelope(
        "a@b.example", ("c@d.example", "e@f.example"), True, True, "HDRS", "x", {"c@d.example": Asked(("NEVER",))}
    ),
    account="b.example",
    sender="a@b.example",
    reasons=("x",),
    weights={"content": 1.5},
    due=1.7e9,
    meta={"fingerprint": "00ff"},
)
PROGRESS = Progress(
    2, 5.0, 1.0, ("c@d.example",), {"c@d.example": Reply(450, "4.2.2", "x")}, (Failure("e@f", Reply(550, "", "y")),)
)


@functools.cache
def _world() -> tuple[asyncio.Runner, Spool]:
    folder = scratch() / "spool"
    shutil.rmtree(folder, ignore_errors=True)
    return asyncio.Runner(loop_factory=asyncio.new_event_loop), Spool(folder, VirtualClock(1.7e9), 0, threads=1)


@quiet("outbound_guard.spool.files")
def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind, state = choices.number(4), choices.one(("queue", "held", "incoming", "quarantine"))
    data = choices.rest()
    if kind == 0:
        records(data)
        return
    if kind == 1:
        # The first line is whole, so that what is in it counts.
        line, _, content = data.partition(b"\n")
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            entry = msgspec.json.decode(line, type=Entry)
            data = encode_entry(msgspec.structs.replace(entry, id=ID, size=len(content))) + content
            again = decode_entry(data[: data.find(b"\n") + 1], ID, len(data))
            holds(again.envelope == entry.envelope and again.meta == entry.meta, "read otherwise than written", data)
    runner, spool = _world()
    runner.run(at_rest(spool, state, data, as_progress=kind == 3))


async def at_rest(spool: Spool, state: str, data: bytes, *, as_progress: bool) -> None:
    """A file lies there: everybody who looks at it gets a message or is told that there is none."""
    folder = spool.files.directory
    message = folder / state / ID
    whole = encode_entry(msgspec.structs.replace(ENTRY, size=1)) + b"x"
    message.write_bytes(whole if as_progress else data)
    if as_progress:
        (folder / "progress" / ID).write_bytes(data)
    try:
        if as_progress:
            with contextlib.suppress(Corrupt):
                progress = decode_progress(data)
                holds(decode_progress(encode_progress(progress)) == progress, data)
        listed = list(spool.entries(state))  # type: ignore[arg-type]
        seen = await spool.seen([ID], state)  # type: ignore[arg-type]
        holds(len(listed) == len(seen), "listed and not due, or the other way round", data)
        try:
            lease = await spool.lease(ID, state)  # type: ignore[arg-type]
        except NotInSpool:
            holds(not listed, "listed and not there", data)
            holds((folder / "corrupt" / ID).read_bytes() == data, "lost instead of set aside", data)
            return
        with lease:
            holds(lease.entry.id == ID and len(lease.content) == lease.entry.size, lease.entry)
            await lease.save(msgspec.structs.replace(lease.progress, attempts=lease.progress.attempts))
        if state == "incoming":
            holds(len(await spool.claim()) == 1, "not claimed", data)
        await spool.remove(ID)
    finally:
        for place in ("queue", "held", "incoming", "quarantine", "corrupt", "progress"):
            (folder / place / ID).unlink(missing_ok=True)


def records(data: bytes) -> None:
    """Lines of the journal: each is a record, or is refused as one that cannot be read."""
    whole = b"".join(line + (b"\n" if ended else b"") for line, ended in segments.lines(data))
    holds(whole.replace(b"\n", b"") == data.replace(b"\n", b""), data)
    for line, ended in segments.lines(data):
        holds(b"\n" not in line and line, data)
        if ended:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                decode(line)


def seeds() -> Iterator[bytes]:
    whole = encode_entry(msgspec.structs.replace(ENTRY, size=5)) + b"x\r\ny\n"
    for state in range(4):
        yield bytes((1, state)) + whole
        yield bytes((2, state)) + whole
        yield bytes((2, state)) + whole[:60]
        yield bytes((3, state)) + encode_progress(PROGRESS)
    yield b'\2\0{"id":"\xff"}\n'
    yield b'\3\0{"attempts":"\xff"}'
    yield b"\0\0" + b'{"type":"decision","id":"1"}\n{"type":"audit"}\n{'


WORDS = (
    *(
        b"\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"null",
        b"true",
        b"1e999",
        b"-1",
        b"NaN",
        b"\\u0000",
        b"\\ud800",
    ),
    *(b'"id":', b'"received":', b'"envelope":', b'"mail_from":', b'"recipients":', b'"size":', b'"due":', b'"meta":{'),
    *(
        b'"remaining":',
        b'"replies":{',
        b'"failed":[',
        b'"attempts":',
        b'"weights":{',
        b"0123456789abcdef",
        b"\0",
        b"\xff",
    ),
    *(b'"type":', b'"decision"', b'"asked":{"c@d.example":{"notify":["NEVER"]}}'),
)
TARGET = Target(attempt, seeds, WORDS, lead=2)
