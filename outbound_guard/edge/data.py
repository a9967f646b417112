"""Reading a message from a stream of chunks: pure, without I/O, and therefore easy to fuzz.

A message ends at CRLF "." CRLF and nowhere else (RFC 5321 4.1.1.4). Bare CR and bare LF are what SMTP smuggling is made
of: the next hop may take them for a line end where we did not. A message with one is refused as a whole, and only after
its true end has been seen, so that nothing in it is ever taken for a command.
"""

from __future__ import annotations

import io
from typing import Literal

from outbound_guard.edge.room import Full, Overflow, Room
from outbound_guard.mail import LARGE, MOST_FIELDS, dotted_line

_END = b"\r\n.\r\n"

Fault = Literal["line_end", "size", "full"]


class DataReader:
    """Takes the octets that follow the reply 354, chunk by chunk, up to the end of the message.

    Memory stays below `limit` plus one chunk, whatever the client sends; with room on disk far below it.
    """

    __slots__ = ("_charged", "_content", "_endings", "_last", "_limit", "_room", "fault", "overflow", "rest", "size")

    def __init__(self, limit: int, room: Room | None = None) -> None:
        """`limit`: most octets of content, dot-stuffing and the end of data not counted (RFC 1870 5).

        `room` is told what is kept, until `close`; without it nothing goes to disk.
        """
        # The last octets seen. A message starts at the start of a line, hence the line end in front of it.
        self._last = b"\r\n"
        self._limit = limit
        self._content = bytearray()
        # Tells which kinds of line end it has seen, across chunks, at a fifth of the price of counting them.
        self._endings = io.IncrementalNewlineDecoder(None, translate=False)
        self._room = room
        self._charged = 0
        self.size = 0
        """Octets of content so far, and when it is whole two more: the empty line that the end leaves behind."""
        self.overflow: Overflow | None = None
        """What of it has gone to disk: nothing, or once it is whole all of it."""
        self.fault: Fault | None = None
        """Why the message is refused; final once `feed` has returned True. A wrong line end outweighs the rest."""
        self.rest = b""
        """What came behind the end of the message: commands."""

    def feed(self, chunk: bytes) -> bool:
        """Take the next octets. True once the end has been seen; after that it must not be called again."""
        last = self._last
        window = last + chunk
        # Only a line that starts with a dot can be stuffed or end the message.
        dot = dotted_line(window)
        end = window.find(_END, dot) if dot >= 0 else -1
        if end >= 0:
            end += len(_END)
            self.rest = window[end:]
            if self.rest:
                window = window[:end]
                chunk = window[len(last) :]
        else:
            # Four octets are the longest part of the end that can lie in an earlier chunk.
            self._last = window[-4:]
        if self.fault != "line_end":
            if dot == end - len(_END) and len(chunk) >= 3:
                # No line begins with a dot but the last one, which leaves an empty line: nothing is to be replaced.
                self._keep(chunk[:-3] + b"\r\n", stuffed=False)
            else:
                self._keep(chunk if dot < 0 else window[len(last) - 2 :], stuffed=dot >= 0)
            if end >= 0 and self.overflow is not None and self.fault is None:
                self._to_disk()
        return end >= 0

    def _keep(self, chunk: bytes, stuffed: bool) -> None:
        """Add to the content. With `stuffed`, two octets already kept stand in front, to see the start of a line."""
        if stuffed:
            # RFC 5321 4.5.2: the first dot of a line goes. This also turns the end, ".", into an empty line.
            self._endings.decode(chunk[2:].decode("latin-1"))
            chunk = chunk.replace(b"\r\n.", b"\r\n")[2:]
        else:
            self._endings.decode(chunk.decode("latin-1"))
        if self.fault is None:
            self._content += chunk
            octets = len(chunk)
            self.size += octets
            room = self._room
            if room is not None:
                self._charged += octets
                room.used += octets
                if (self._charged > LARGE or room.used > room.most) and room.folder is not None:
                    self._to_disk()
        if self._endings.newlines not in (None, "\r\n"):
            self.fault = "line_end"
        elif self.fault is None and self.size > self._limit + 2:
            # The empty line that the end leaves behind is not content and comes off in the end.
            self.fault = "size"
        if self.fault is not None:
            self.close()

    def _to_disk(self) -> None:
        try:
            if self.overflow is None and self._room is not None:
                self.overflow = self._room.file()
            if self.overflow is not None:
                self.overflow.write(self._content)
        except (OSError, Full):
            self.fault = "full"
        self._forget()

    def _forget(self) -> None:
        if self._content:
            self._content = bytearray()
        if self._room is not None:
            self._room.used -= self._charged
            self._charged = 0

    def close(self) -> None:
        """Give back what is kept of the message, in memory and on disk. May be called again."""
        self._forget()
        if self.overflow is not None:
            self.overflow.close()

    def content(self) -> bytes:
        """The message as its author meant it: CRLF line ends, without dot-stuffing. To be called once, at the end.

        It still counts for its room until `close`. One that went to disk is read by `from_disk`.
        """
        content, self._content = self._content, bytearray()
        del content[-2:]
        return bytes(content)

    def from_disk(self) -> bytes:
        """The same for a message that went to disk, and of which nothing is in memory; for a thread. Raises OSError."""
        return self.overflow.read(self.size - 2) if self.overflow else b""


def header(content: bytes, most: int) -> bytes | None:
    """The header section of a message, without the line end of its last field.

    None if it is longer than `most` octets or has more than `MOST_FIELDS` fields.
    """
    if content.startswith(b"\r\n"):
        return b""
    end = content.find(b"\r\n\r\n", 0, most + 4)
    if end < 0:
        if len(content) > most:
            return None
        end = len(content)
    head = content[:end]
    # As many lines as are read; the shortest has one octet and a line end.
    if end >= 3 * MOST_FIELDS and head.count(b"\r\n") - head.count(b"\r\n ") - head.count(b"\r\n\t") >= MOST_FIELDS:
        return None
    return head


def hops(header: bytes) -> int:
    """How many Received fields a header has: one for each server the message has been through (RFC 5321 6.3)."""
    lower = header.lower()
    return lower.count(b"\r\nreceived:") + lower.startswith(b"received:")
