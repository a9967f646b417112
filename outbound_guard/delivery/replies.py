"""Reads SMTP replies out of a stream of octets, however it is cut (RFC 5321 4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from outbound_guard.reply import Reply, parse

KEPT_LINES = 100
KEPT_OCTETS = 65_536
LONGEST_TEXT = 4096
LONGEST = 1_048_576
"""Octets of one reply after which it is given up."""

_CODES = {b"%d" % code: code for code in range(200, 600)}
# A bare CR or another control character in a reply would be passed on to the client as it is.
UNPRINTABLE = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), " ")


class MalformedError(Exception):
    """What the next hop says is no SMTP."""


class ReplyReader:
    """Feed it what arrives; it yields each reply as soon as it is complete.

    Of a long reply the first 100 lines and 64 kB are kept; a longer one than 1 MB is malformed.
    """

    __slots__ = ("_code", "_kept", "_lines", "_octets", "_rest", "empty")

    def __init__(self) -> None:
        self._rest = b""
        self.empty = True
        """True if nothing came behind the reply that was yielded last."""
        self._code = self._octets = self._kept = 0
        self._lines: list[bytes] = []

    @property
    def untouched(self) -> bool:
        """True if no part of a reply has come yet."""
        return not self._rest and not self._code

    def feed(self, data: bytes) -> Iterable[tuple[int, list[bytes]]]:
        """(code, lines of text) of each reply that is complete now; going over them may raise MalformedError."""
        if data[3:4] == b" " and data.count(b"\n") == 1 and data[-2:] == b"\r\n" and self.untouched:
            # One reply of one line: by far the most frequent.
            code = _CODES.get(data[:3])
            if code is not None and len(data) < KEPT_OCTETS:
                self.empty = True
                return ((code, [data[4:-2]]),)
        return self._read(data)

    def _read(self, data: bytes) -> Iterator[tuple[int, list[bytes]]]:
        if self._rest:
            data = self._rest + data
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = data[start:end]
            start = end + 1
            if line[-1:] == b"\r":
                line = line[:-1]
            code = _CODES.get(line[:3])
            mark = line[3:4]
            if code is None or mark not in (b" ", b"-", b"") or (self._code and code != self._code):
                raise MalformedError
            self._octets += len(line)
            if self._octets > LONGEST:
                raise MalformedError
            if len(self._lines) < KEPT_LINES and self._kept < KEPT_OCTETS:
                text = line[4 : 4 + KEPT_OCTETS - self._kept]
                self._lines.append(text)
                self._kept += len(text)
            if mark == b"-":
                self._code = code
                continue
            lines, self._lines = self._lines, []
            self._code = self._octets = self._kept = 0
            self.empty = start == len(data)
            yield code, lines
        self._rest = data[start:]
        if len(self._rest) > KEPT_OCTETS:
            raise MalformedError


def reply_of(code: int, lines: Sequence[bytes]) -> Reply:
    """The reply as a value, fit to be passed on: its enhanced code found, control characters made spaces.

    Of its text the first 4 kB are kept: one is stored, and told of in reports, for each of a thousand recipients.
    """
    text = b"\n".join(lines)[:LONGEST_TEXT].decode("utf-8", "replace")
    if not text.isprintable():
        text = "\n".join(line.translate(UNPRINTABLE) for line in text.split("\n"))
    return parse(code, text)
