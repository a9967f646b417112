"""Reading a message from a stream of chunks: pure, without I/O, and therefore easy to fuzz.

A message ends at CRLF "." CRLF and nowhere else (RFC 5321 4.1.1.4). Bare CR and bare LF are what SMTP smuggling is made
of: the next hop may take them for a line end where we did not. A message with one is refused as a whole, and only after
its true end has been seen, so that nothing in it is ever taken for a command.
"""

from __future__ import annotations

import io
from typing import Literal

_END = b"\r\n.\r\n"

Fault = Literal["line_end", "size"]


class DataReader:
    """Takes the octets that follow the reply 354, chunk by chunk, up to the end of the message.

    Memory stays below `limit` plus one chunk, whatever the client sends.
    """

    __slots__ = ("_content", "_endings", "_last", "_limit", "fault", "rest")

    def __init__(self, limit: int) -> None:
        """`limit`: most octets of content, dot-stuffing and the end of data not counted (RFC 1870 5)."""
        # The last octets seen. A message starts at the start of a line, hence the line end in front of it.
        self._last = b"\r\n"
        self._limit = limit
        self._content = bytearray()
        # Tells which kinds of line end it has seen, across chunks, at a fifth of the price of counting them.
        self._endings = io.IncrementalNewlineDecoder(None, translate=False)
        self.fault: Fault | None = None
        """Why the message is refused; final once `feed` has returned True. A wrong line end outweighs the size."""
        self.rest = b""
        """What came behind the end of the message: commands."""

    def feed(self, chunk: bytes) -> bool:
        """Take the next octets. True once the end has been seen; after that it must not be called again."""
        last = self._last
        window = last + chunk
        # Only a line that starts with a dot can be stuffed or end the message.
        dot = window.find(b"\r\n.")
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
            self._keep(chunk if dot < 0 else window[len(last) - 2 :], stuffed=dot >= 0)
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
        if self._endings.newlines not in (None, "\r\n"):
            self.fault = "line_end"
        elif len(self._content) > self._limit + 2:
            # The empty line that the end leaves behind is not content and comes off in the end.
            self.fault = "size"
        if self.fault is not None:
            self._content = bytearray()

    def content(self) -> bytes:
        """The message as its author meant it: CRLF line ends, without dot-stuffing. To be called once, at the end."""
        content, self._content = self._content, bytearray()
        del content[-2:]
        return bytes(content)


def hops(content: bytes) -> int:
    """How many Received fields the header has: one for each server the message has been through (RFC 5321 6.3)."""
    if content.startswith(b"\r\n"):
        return 0
    end = content.find(b"\r\n\r\n")
    header = (content if end < 0 else content[:end]).lower()
    return header.count(b"\r\nreceived:") + header.startswith(b"received:")
