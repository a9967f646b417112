"""The mail log: one JSON line an event. What an operator greps for is an API; see docs/operations.md."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import msgspec

from outbound_guard.unicode import to_json


class Reception(msgspec.Struct, tag_field="type", tag="Reception"):
    """The line of a submission, its fields in the order of the line. A struct, since every message writes one."""

    timestamp: float
    """Unix seconds, with three digits behind the point."""
    id: str
    sender: str
    """MAIL FROM."""
    recipient: tuple[str, ...]
    size: int
    peer_address: dict[str, str]
    account: str
    identity: str
    identity_source: str
    class_: str = msgspec.field(name="class")
    action: str
    code: str
    score: float
    signals: dict[str, float]
    shadow: dict[str, float]
    state: str
    response: str
    seconds: float
    """From its reception to the answer."""


class MailLog:
    """Collects lines for a moment and writes them at once."""

    def __init__(self, stream: TextIO | None = None, call_soon: Callable[[Callable[[], None]], Any] | None = None):
        """`call_soon` has the writing done in a moment; without it every line is written at once."""
        self._stream = stream or sys.stdout
        self._call_soon = call_soon
        self._lines: list[bytes] = []

    def event(self, type_: str, now: float, **fields: Any) -> None:
        """Write one line: `type`, `timestamp` (unix seconds) and the fields. Values are escaped by the encoder."""
        self._put(to_json({"type": type_, "timestamp": round(now, 3), **fields}))

    def reception(self, line: Reception) -> None:
        """Write the line of a submission."""
        self._put(to_json(line))

    def _put(self, line: bytes) -> None:
        self._lines.append(line)
        if self._call_soon is None:
            self.flush()
        elif len(self._lines) == 1:
            self._call_soon(self.flush)

    def flush(self) -> None:
        """Write what was collected. A log that cannot be written never stops mail."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self._stream.write(b"\n".join(lines).decode() + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            logging.getLogger(__name__).debug("mail log cannot be written", exc_info=True)


def set_up(level: int = logging.INFO) -> None:
    """Ordinary program messages go to standard error; libraries that log message content are kept silent."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    # aiosmtpd writes what clients send to its DEBUG log, and a warning for each AUTH that a client breaks off.
    logging.getLogger("mail").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
