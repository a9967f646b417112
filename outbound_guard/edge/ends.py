"""How a command line, and how a session ends before its time: as exceptions, since many places may say so."""

from __future__ import annotations


class Closed(Exception):  # noqa: N818 - it is an outcome, not an error.
    """The session is over; what was said so far is still sent."""


class BadLine(Exception):  # noqa: N818 - it carries the answer to the client.
    """A command line that cannot be read. The session goes on behind it."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer
