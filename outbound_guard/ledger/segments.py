"""The files of the journal. Names sort by the time they were opened and are never used twice.

`TIME-COUNT-RANDOM-SLOT.open` is being written; its writer holds a lock (flock) on it, which the system takes away when
the writer dies. `.jsonl` is sealed: nothing changes in it any more, and the scribe may take it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

OPEN = ".open"
SEALED = ".jsonl"
COMMAND = "cli-"
"""How the slots of commands begin."""


def create(directory: Path, slot: str, now: float, count: int) -> tuple[int, Path]:
    """Open a new segment for `slot` and lock it: file descriptor (appending) and path. Raises OSError."""
    while True:
        path = directory / f"{int(now * 1000):014d}-{count:08d}-{secrets.token_hex(4)}-{slot}{OPEN}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Between opening and locking somebody may have taken the file for a dead writer's.
            if _is(fd, path):
                give_to_owner(fd, directory)
                return fd, path
        except OSError:
            os.close(fd)
            raise
        os.close(fd)


def seal(path: Path) -> Path:
    """Hand a segment over to the scribe. Raises OSError."""
    sealed = path.with_suffix(SEALED)
    path.rename(sealed)
    return sealed


def adopt(directory: Path, slot: str | None = None) -> int:
    """Seal the open segments of writers that are gone (of `slot`, or all): how many. Raises OSError."""
    adopted = 0
    for name in _names(directory, OPEN):
        if slot is not None and slot_of(name) != slot:
            continue
        path = directory / name
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(fd, path):
                seal(path)
                adopted += 1
        except (BlockingIOError, FileNotFoundError):
            continue
        finally:
            os.close(fd)
    return adopted


def sealed(directory: Path) -> list[Path]:
    """The segments that wait for the scribe, oldest first."""
    return [directory / name for name in _names(directory, SEALED)]


def of_commands(directory: Path) -> bool:
    """True if something waits for the scribe that was written on the command line."""
    return any(slot_of(name).startswith(COMMAND) for name in _names(directory, SEALED))


def slot_of(name: str) -> str:
    """The slot in a segment's file name; slots may contain `-`."""
    parts = name.rpartition(".")[0].split("-", 3)
    return parts[3] if len(parts) == 4 else ""


def lines(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """The lines of a segment, each with True if it is whole; the last is torn if its writer died in the middle."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        if end < 0:
            yield data[start:], False
            return
        if end > start:
            yield data[start:end], True
        start = end + 1


def sync_directory(directory: Path) -> None:
    """Make the names in it survive a power failure. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def give_to_owner(fd: int, directory: Path) -> None:
    """What root makes on the command line must stay usable for the service's own user. Raises OSError."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _names(directory: Path, suffix: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(directory) if entry.name.endswith(suffix))
    except FileNotFoundError:
        return []


def _is(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
