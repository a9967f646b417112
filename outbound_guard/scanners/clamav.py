"""ClamAV's clamd, by its command INSTREAM (clamd(8)), over TCP or a unix socket."""

from __future__ import annotations

import re
import struct

from outbound_guard.config import Scanner
from outbound_guard.content import Message
from outbound_guard.mail import Submission
from outbound_guard.scanners.opinion import Nonsense, Said
from outbound_guard.scanners.wire import exchange, one_line

_FOUND = re.compile(rb"stream: (.{1,500}) FOUND\0", re.S)
_GUESSED = re.compile(r"(?:PUA|Heuristics)\.|.*(?:spam|scam|junk|phish|spear|lott|jurlbl|blurl)", re.I)
"""Signatures that do not name a virus: unwanted programs, heuristics, and the mail signatures of other makers."""


async def ask(scanner: Scanner, submission: Submission, message: Message) -> Said:
    """A virus, something that is merely suspect ("spam"), or nothing."""
    size = struct.pack(">I", len(submission.content))
    # An empty chunk would end the stream; a message is never empty, but nothing here says so.
    chunk = (size, submission.content) if submission.content else ()
    return read(await exchange(scanner.address, b"zINSTREAM\0", *chunk, b"\0\0\0\0"))


def read(answer: bytes) -> Said:
    """Read the answer. Raises Nonsense, also for its own errors ("INSTREAM size limit exceeded. ERROR")."""
    if answer == b"stream: OK\0":
        return "clean", "nothing found"
    found = _FOUND.fullmatch(answer)
    if not found:
        raise Nonsense(one_line(answer[:200].decode("latin-1")) or "nothing")
    name = one_line(found[1].decode("latin-1"))
    return "spam" if _GUESSED.match(name) else "virus", name
