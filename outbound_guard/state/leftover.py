"""Processes that a crashed run left behind: found by their pid file, verified by their command line, and stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from pathlib import Path

_log = logging.getLogger(__name__)

_GRACE = 5.0
"""Seconds after SIGTERM until SIGKILL, and then until it is given up."""


def write(file: Path, pid: int) -> None:
    """Remember a process. A full disk only means that it cannot be found again after a crash."""
    try:
        file.write_text(f"{pid}\n", encoding="ascii")
    except OSError as error:
        _log.warning("%s cannot be written: %s", file, error)


def stop(file: Path, mark: str) -> bool:
    """Stop the process in `file` if its command line holds `mark`; True if there was one. The file goes. Blocks."""
    try:
        pid = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    found = mark in command_line(pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if mark in command_line(pid):
            _send(pid, number)
            end = time.monotonic() + _GRACE
            while (mark in command_line(pid) or _ending(pid)) and time.monotonic() < end:
                time.sleep(0.01)
    file.unlink(missing_ok=True)
    return found


def command_line(pid: int) -> str:
    """A process' words with spaces between them; empty if there is no such process, or only its corpse."""
    proc = Path(f"/proc/{pid}/cmdline")
    try:
        return proc.read_bytes().replace(b"\0", b" ").decode("utf-8", "surrogateescape")
    except OSError:
        if proc.parent.parent.joinpath("self").exists():
            return ""
    asked = subprocess.run(  # noqa: S603 - A number is all that goes in.
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout


def _ending(pid: int) -> bool:
    """True while a process has no memory any more, and so no command line, but may still have files and sockets."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X") and not command_line(pid)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
