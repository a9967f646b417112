"""What is known about a message at rest, and how it is written down.

A message is one file: the entry as one line of JSON, a line feed, then the content, octet for octet. What changes
while it waits (tries, next time, recipients left) stands in a small file beside it, the progress.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply
from outbound_guard.unicode import to_json

State = Literal["incoming", "queue", "held", "quarantine"]
"""incoming: to be delivered, not yet seen by the delivery process; queue: in its hands; held: waits for its time or
for a person; quarantine: kept as evidence, not to be delivered unless a person releases it."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message at rest. It never changes; times are unix seconds."""

    id: str
    received: float
    envelope: Envelope
    account: str = ""
    sender: str = ""
    subject: str = ""
    action: str = "relay"
    score: float = 0.0
    code: str = ""
    reasons: tuple[str, ...] = ()
    weights: dict[str, float] = {}
    """What each signal contributed to the score (nats); of mail that is held for a time."""
    client_ip: str = ""
    size: int = 0
    """Octets of the content; the spool sets it."""
    due: float = 0.0
    """When to try it first; held: when to look at it again, 0 if a person decides."""
    attempts: int = 0
    """Tries made before it came to the spool (1 after a cut-through that the next hop deferred)."""
    replies: dict[str, Reply] = {}
    """What came of the tries made before it came to the spool; see `last_reply`."""
    bounce_to: str = ""
    """The address that may get a bounce: the envelope's sender if the account owns it, else empty (no backscatter)."""
    meta: dict[str, str] = {}

    @property
    def fingerprint(self) -> int:
        """Of the text (content.Message.fingerprint); 0 if there is none."""
        try:
            return int(self.meta.get("fingerprint", "0"), 16)
        except ValueError:
            return 0


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A recipient that was given up, and the reply that decided it."""

    recipient: str
    reply: Reply
    peer: str = ""
    """The next hop that answered, `host:port`; empty if the decision was ours."""
    at: float = 0.0
    """Unix seconds of the last try."""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a message has come. Times are unix seconds."""

    attempts: int = 0
    due: float | None = None
    """The next try or look, 0 if a person decides; None: as the entry says."""
    since: float = 0.0
    """When its time in the queue began, from which expiry counts; 0: when it was received."""
    released: bool = False
    """A person has let it go: it is delivered whatever becomes of its sender."""
    remaining: tuple[str, ...] | None = None
    """Recipients still to be delivered; None: all."""
    replies: dict[str, Reply] = {}
    """The last reply for each remaining recipient that was tried."""
    failed: tuple[Failure, ...] = ()
    """Recipients given up whose bounce is not yet written."""
    relayed: tuple[Failure, ...] = ()
    """Recipients whose next hop has the message and will not report that: the report of it is not yet written."""
    warned: bool = False
    """The sender was told that it takes long."""


def last_reply(entry: Entry, progress: Progress, recipient: str) -> Reply | None:
    """What was answered last for a recipient that is left; None if it was not tried."""
    return progress.replies.get(recipient) or entry.replies.get(recipient)


class Seen(msgspec.Struct, frozen=True):
    """A message that was looked at, without its content."""

    id: str
    entry: Entry | None
    """None: the disk does not give it now."""
    progress: Progress


class Corrupt(Exception):  # noqa: N818 - the name says what the file is
    """A file of the spool is not what the spool has written."""


_entry = msgspec.json.Decoder(Entry)
_progress = msgspec.json.Decoder(Progress)


def encode_entry(entry: Entry) -> bytes:
    """The first line of a message's file, with its line feed. JSON text holds no bare line feed."""
    return to_json(entry) + b"\n"


def decode_entry(line: bytes, id_: str, octets: int) -> Entry:
    """The entry on a file's first line. `octets` is the size of the whole file. Raises Corrupt."""
    try:
        entry = _entry.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"the first line cannot be read: {error}") from error
    if entry.id != id_:
        raise Corrupt(f"the first line is that of {entry.id!r}")
    if len(line) + entry.size != octets:
        raise Corrupt(f"the file has {octets} octets instead of {len(line) + entry.size}")
    return entry


def encode_progress(progress: Progress) -> bytes:
    """A progress as the content of its file."""
    return to_json(progress)


def decode_progress(data: bytes) -> Progress:
    """A progress from the content of its file. Raises Corrupt."""
    try:
        return _progress.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"the progress cannot be read: {error}") from error


def due_of(entry: Entry, progress: Progress) -> float:
    """When a message is due (unix seconds): as its progress says, else as its entry says."""
    return entry.due if progress.due is None else progress.due
