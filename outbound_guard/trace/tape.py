"""Recording of the product's own traffic as a trace. It is written behind the mail and never stops it.

What is to be written waits in memory and goes to the disk about once a second, in a thread. When the disk is nearly
full, the recording has reached its size, or more comes than can be written, transactions are left out and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Recording
from outbound_guard.durable import make_directories
from outbound_guard.reply import Reply
from outbound_guard.trace import ANSWERS, ARCHIVE, LINES, Answer
from outbound_guard.trace.recorded import evidence_of
from outbound_guard.verdict import DEFER, Judgement

_FLUSH_SECONDS = 1.0
_KEEP_BYTES = 32 * 1024 * 1024
"""Octets of messages that wait in memory; what comes beyond is left out."""
_TIDY_BYTES = 64 * 1024 * 1024
"""After so many octets written the size of the whole recording is looked at again."""
_DAY = 86_400

_Waiting: TypeAlias = tuple[dict[str, Any], Judgement] | Answer

_log = logging.getLogger(__name__)


class Tape:
    """Records what one process does. Its methods are called on the event loop and do not wait."""

    def __init__(
        self,
        directory: Path,
        slot: str,
        clock: Clock,
        settings: Recording,
        *,
        free_bytes: int,
        observe: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """`free_bytes`: what mail needs of the disk; twice as much is left free. Without `loop` call `close`."""
        self.lost = 0
        """Transactions and answers left out."""
        self._directory, self._slot, self._clock, self._settings = directory, slot, clock, settings
        self._free_bytes, self._observe, self._loop = free_bytes, observe, loop
        self._waiting: list[_Waiting] = []
        self._octets = 0
        self._armed = False
        self._writing = threading.Lock()
        self._written, self._day = 0, ""
        self._full = self._failing = False

    def taken_in(self, judgement: Judgement, replies: Sequence[Reply], state: str, took: float) -> None:
        """A submission was judged and answered.

        `replies`: the world's, one for each recipient, or none; `state`: where the message is at rest, as in
        actions.Outcome; `took`: seconds until the answer.
        """
        submission, sender, verdict = judgement.submission, judgement.sender, judgement.verdict
        recorded: dict[str, Any] = {
            "sender": sender,
            "action": verdict.action,
            "score": round(verdict.score, 3),
            "code": verdict.code,
            "state": state,
            "message_id": judgement.message.message_id,
        }
        if judgement.opinions:
            recorded["scanners"] = judgement.opinions
        if verdict.action == DEFER and not self._observe:
            recorded["deferred"] = True
        line = {
            "id": submission.id,
            "t": submission.received,
            "client_ip": submission.client_ip,
            "server": submission.server,
            "sasl_user": submission.login or submission.server,
            "helo": submission.helo,
            "mail_from": submission.envelope.mail_from,
            "rcpt_to": submission.envelope.recipients,
            "size": len(submission.content),
            "recorded": recorded,
            "outcomes": _outcomes(replies, round(took, 3)),
        }
        self._keep((line, judgement), len(submission.content) + 1000)

    def answered(self, id_: str, now: float, recipients: Sequence[str], replies: Sequence[Reply]) -> None:
        """The world has answered for recipients of a message that was taken in before."""
        for recipient, reply in zip(recipients, replies, strict=True):
            stage = "deferred" if reply.temporary else "final"
            self._keep(Answer("result", now, id_, (recipient,), str(reply), stage), 300)

    def complained(self, id_: str, now: float, recipient: str) -> None:
        """A recipient has complained about a message."""
        self._keep(Answer("complaint", now, id_, (recipient,), "abuse"), 300)

    def close(self) -> None:
        """Write what waits."""
        waiting, self._waiting, self._octets = self._waiting, [], 0
        self._write(waiting)

    def _keep(self, what: _Waiting, octets: int) -> None:
        if self._octets + octets > _KEEP_BYTES:
            self.lost += 1
            return
        self._waiting.append(what)
        self._octets += octets
        if self._loop is not None and not self._armed:
            self._armed = True
            self._loop.call_later(_FLUSH_SECONDS, self._tick)

    def _tick(self) -> None:
        self._armed = False
        waiting, self._waiting, self._octets = self._waiting, [], 0
        if self._loop is not None:
            self._loop.run_in_executor(None, self._write, waiting)

    def _write(self, waiting: list[_Waiting]) -> None:
        """In a thread. A failure is counted and said once."""
        with self._writing:
            if not waiting:
                return
            try:
                if self._has_room():
                    self._put(waiting)
                else:
                    self.lost += len(waiting)
                self._failing = False
            except OSError as error:
                self.lost += len(waiting)
                if not self._failing:
                    _log.error("recording: cannot be written, mail goes on without it: %s", error)
                self._failing = True

    def _has_room(self) -> bool:
        """True if more may be written today. Raises OSError."""
        now = self._clock.now()
        day = _day(now)
        if day != self._day or self._written >= _TIDY_BYTES:
            make_directories(self._directory)
            size = tidy(self._directory, self._settings, now)
            full = size >= self._settings.max_bytes
            if full and not self._full:
                _log.warning("recording: it has reached max_bytes, the rest of the day is left out")
            self._day, self._written, self._full = day, 0, full
        if self._full:
            return False
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize > 2 * self._free_bytes

    def _put(self, waiting: list[_Waiting]) -> None:
        stem = f"{self._day}-{self._slot}"
        lines, answers, blobs = [], [], []
        archive = _open(self._directory / f"{stem}{ARCHIVE}")
        try:
            place = os.fstat(archive).st_size
            for one in waiting:
                if isinstance(one, Answer):
                    answers.append(msgspec.json.encode(one))
                    continue
                line, judgement = one
                content = judgement.submission.content
                if not self._settings.content:
                    message = judgement.message
                    line["recorded"]["evidence"] = evidence_of(message, judgement.seen.content)
                    content = content[: message.headers.end]
                blob = zlib.compress(content, 1)
                line["message"] = f"{stem}{ARCHIVE}:{place}:{len(blob)}"
                place += len(blob)
                blobs.append(blob)
                lines.append(msgspec.json.encode(line))
            # The messages first: a line never names what is not there.
            _append(archive, b"".join(blobs))
        finally:
            os.close(archive)
        for name, texts in ((f"{stem}{LINES}", lines), (f"{stem}{ANSWERS}", answers)):
            if texts:
                file = _open(self._directory / name)
                try:
                    # The line on which an earlier process was killed must not swallow the next one.
                    torn = os.fstat(file).st_size and os.pread(file, 1, os.fstat(file).st_size - 1) != b"\n"
                    _append(file, (b"\n" if torn else b"") + b"\n".join(texts) + b"\n")
                finally:
                    os.close(file)
        self._written += sum(map(len, blobs)) + sum(map(len, lines))


def tidy(directory: Path, settings: Recording, now: float) -> int:
    """Remove days that are older than keep_days, and the oldest while all are larger than max_bytes, but not today's.

    Returns the octets that are left. Raises OSError.
    """
    days: dict[str, list[os.DirEntry[str]]] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name[:8].isdigit() and entry.name[8:9] == "-" and entry.name.endswith((LINES, ARCHIVE)):
                days.setdefault(entry.name[:8], []).append(entry)
    sizes = {day: sum(entry.stat().st_size for entry in files) for day, files in days.items()}
    oldest = _day(now - (settings.keep_days - 1) * _DAY)
    for day in sorted(days):
        if day < oldest or (sum(sizes.values()) >= settings.max_bytes and day < _day(now)):
            for entry in days[day]:
                Path(entry.path).unlink(missing_ok=True)
            del sizes[day]
    return sum(sizes.values())


def _day(now: float) -> str:
    return time.strftime("%Y%m%d", time.gmtime(now))


def _outcomes(replies: Sequence[Reply], after: float) -> dict[str, Any]:
    """What the world answered at once, as a trace has it."""
    if not replies:
        return {}
    other = [
        {"rcpt": place, "reply": str(reply), "after": after}
        for place, reply in enumerate(replies)
        if not reply.accepted
    ]
    return {"ok_after": after} | ({"other": other} if other else {})


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _append(file: int, data: bytes) -> None:
    """All of `data`, or nothing of it and an OSError."""
    before, written = os.fstat(file).st_size, 0
    try:
        while written < len(data):
            written += os.write(file, memoryview(data)[written:])
    except OSError:
        os.ftruncate(file, before)
        raise
