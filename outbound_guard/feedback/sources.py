"""Files with reports: a message, an mbox, a folder, or JSON lines; one after the other, never all in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FROM = re.compile(rb"From \S+ .*\d\d:\d\d")
"""The line that divides an mbox (RFC 4155)."""
_RECORDS = 268_435_456
"""Octets of JSON lines that are read at a time."""


def messages_of(name: str, standard_input: BinaryIO, most: int) -> Iterator[tuple[str, bytes, bool]]:
    """Each message with where it stands, and whether it is no message but records (JSON lines).

    Of a message at most `most` octets and one more are read: it is too long then. Raises OSError.
    """
    if name == "-":
        yield from _of_file("-", standard_input, most)
        return
    path = Path(name)
    if path.is_dir():
        for file in sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith(".")):
            with file.open("rb") as octets:
                yield from _of_file(str(file), octets, most)
        return
    with path.open("rb") as octets:
        yield from _of_file(name, octets, most)


def _of_file(name: str, file: BinaryIO, most: int) -> Iterator[tuple[str, bytes, bool]]:
    first = file.readline(most + 1)
    if first.lstrip()[:1] in (b"{", b"["):
        while True:
            yield name, first + b"".join(file.readlines(_RECORDS)), True
            first = file.readline(most + 1)
            if not first:
                return
    if not _FROM.match(first):
        rest = file.read(max(0, most + 1 - len(first)))
        yield name, first + rest, False
        return
    number = 1
    message: list[bytes] = []
    size, blank = 0, False
    while line := file.readline(most + 1):
        if blank and _FROM.match(line):
            yield f"{name}:{number}", b"".join(message), False
            number, message, size, blank = number + 1, [], 0, False
            continue
        blank = not line.strip()
        # A quoted line of the message that begins like the divider.
        plain = line[1:] if re.match(rb">+From ", line) else line
        if size <= most:
            message.append(plain)
        size += len(plain)
    yield f"{name}:{number}", b"".join(message), False
