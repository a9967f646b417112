"""Everything that is known of an account, to take away: one ZIP file, or one JSON document, written as it is read."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from itertools import groupby
from typing import Any, Literal

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import account_everything, account_one_queries, directory_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit
from outbound_guard.reputation import Reputation
from outbound_guard.reputation.portrait import portraits
from outbound_guard.spool import NotInSpool, Spool
from outbound_guard.state import StateDown

Format = Literal["zip", "json"]
_PIECE = 256 * 1024
"""Octets that are handed on at a time."""
_MESSAGE = "message"

Item = tuple[str, Any]
_encode = msgspec.json.Encoder().encode


async def export_account(
    ledger: Ledger,
    spool: Spool | None,
    memory: Reputation,
    journal: Journal,
    clock: Clock,
    account: str,
    *,
    by: str,
    format_: Format = "zip",
    content: bool = False,
) -> AsyncIterator[bytes]:
    """Everything about an account in pieces of a file; `content`: held messages as they came in as well.

    A ZIP holds a file of JSON lines for each kind and the messages as `messages/ID.eml`; a JSON document an array for
    each kind, and no messages. Raises DeskError if nothing is known or `format_` and `content` do not go together,
    LedgerError. The audit has it before the first piece is given.
    """
    if content and format_ != "zip":
        raise DeskError("the content of messages goes into a ZIP file only")
    if await asyncio.to_thread(_unknown, ledger, account):
        raise DeskError(f"no account {account}")
    remembered = await _remembered(ledger, memory, clock.now(), account)
    now = clock.now()
    detail = format_ + (", with the content of held messages" if content else "")
    on_disk(journal, Audit(time=now, by=by, what="account.export", subject=account, detail=detail))
    items = _items(ledger, spool if content else None, account, now, remembered)
    return _pieces(_zip(items) if format_ == "zip" else _document(items))


async def _pieces(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Reading blocks, so each piece is made in a thread."""
    while (piece := await asyncio.to_thread(next, chunks, None)) is not None:
        yield piece


def _unknown(ledger: Ledger, account: str) -> bool:
    return account_one_queries.seen(ledger, account) is None and not directory_queries.accounts(ledger, account)


async def _remembered(ledger: Ledger, memory: Reputation, now: float, account: str) -> list[dict[str, Any]]:
    senders = ["", *await asyncio.to_thread(account_one_queries.sender_names, ledger, account)]
    try:
        found = await portraits(memory, [(account, sender) for sender in senders])
    except StateDown as error:
        return [{"error": f"the memory of the relays could not be asked: {error}"}]
    return [
        {"sender": sender or None, **portrait.plain(now, memory.half_life)}
        for sender, portrait in zip(senders, found, strict=True)
        if portrait.known
    ]


def _items(
    ledger: Ledger, spool: Spool | None, account: str, now: float, remembered: list[dict[str, Any]]
) -> Iterator[Item]:
    """What goes into the file, kind by kind."""
    yield "about", {"account": account, "exported": now, "times": "unix seconds", "kinds": _KINDS}
    yield from account_everything.about(ledger, account)
    for row in remembered:
        yield "memory", row
    for row in account_everything.decisions(ledger, account):
        yield "decision", row
    if spool is not None:
        for id_ in account_everything.held_ids(ledger, account):
            octets = _content(spool, id_)
            if octets is not None:
                yield _MESSAGE, (id_, octets)


_KINDS = {
    "entry": "its entry in the directory of accounts",
    "pattern": "senders and patterns that belong to it by the directory",
    "sender": "senders that were seen",
    "standing": "suspensions, limits, exemptions and probations, with what was taken back",
    "note": "what people have written down",
    "traffic": "messages and recipients by hour (unix seconds / 3600) and action",
    "feedback": "complaints and bounces that came back for its mail",
    "suppression": "recipients that are not to be written to any more, and those that were taken off again",
    "case": "cases in which it is named",
    "audit": "what people did about it",
    "memory": "counters, habits and evidence in the memory of the relays",
    "decision": "each message: recipients, signals, what was decided, what other servers answered",
}


def _content(spool: Spool, id_: str) -> bytes | None:
    try:
        with open(spool.files.path(id_, spool.files.state_of(id_)), "rb") as stream:
            return spool.files.read(stream.fileno(), id_)[1]
    except (NotInSpool, OSError):
        return None  # It went while this was read, or lies on another machine.


class _Pipe(io.RawIOBase):
    """A file that is read while it is written."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self.waiting = 0

    def writable(self) -> bool:
        """It is for writing only."""
        return True

    def write(self, octets: Any) -> int:
        """Keep octets until `take`."""
        piece = bytes(octets)
        self._kept.append(piece)
        self.waiting += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        kept, self._kept, self.waiting = b"".join(self._kept), [], 0
        return kept


def _zip(items: Iterator[Item]) -> Iterator[bytes]:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, some in groupby(items, key=lambda item: item[0]):
            if kind == _MESSAGE:
                for _, (id_, octets) in some:
                    archive.writestr(f"messages/{id_}.eml", octets)
                    yield pipe.take()
                continue
            name = "about.json" if kind == "about" else f"{kind}.jsonl"
            with archive.open(name, "w", force_zip64=True) as file:
                for _, value in some:
                    file.write(_encode(value) + b"\n")
                    if pipe.waiting >= _PIECE:
                        yield pipe.take()
    yield pipe.take()


def _document(items: Iterator[Item]) -> Iterator[bytes]:
    kept: list[bytes] = [b"{"]
    size, first_kind = 0, True
    for kind, some in groupby(items, key=lambda item: item[0]):
        kept.append((b"" if first_kind else b",") + b'\n"%b": [' % kind.encode())
        first_kind, first = False, True
        for _, value in some:
            piece = (b"\n" if first else b",\n") + _encode(value)
            kept.append(piece)
            first, size = False, size + len(piece)
            if size >= _PIECE:
                yield b"".join(kept)
                kept, size = [], 0
        kept.append(b"]")
    yield b"".join([*kept, b"}\n"])
