"""The one safe writer: what it has written is on the disk, whole, or not there at all.

Temporary file in the same file system, fsync, rename, fsync of the directory. All functions block; the callers
run them in threads. All raise OSError.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_IOV_MAX = 1024
"""The most pieces one writev takes (IOV_MAX on Linux)."""
_number = itertools.count()


def write(path: Path, pieces: Sequence[bytes], *, temporary: Path | None = None, sync: bool = True) -> None:
    """Put `pieces`, one behind the other, into the file `path` (mode 0600), replacing it if it exists.

    `temporary` is a directory of the same file system for the unfinished file; without it the file's own directory.
    With `sync=False` nothing is fsynced: the file survives the death of the process, but not a power cut.
    After an error before the rename nothing is left behind; if only the fsync of the directory fails, `path` exists.
    """
    place(path, pieces, temporary=temporary, sync=sync)
    if sync:
        sync_directory(path.parent)


def place(path: Path, pieces: Sequence[bytes], *, temporary: Path | None = None, sync: bool = True) -> None:
    """`write` that is not safe yet: the caller has to `sync_directory`, once for several files."""
    unfinished = (temporary or path.parent) / f".{path.name}.{os.getpid()}.{next(_number)}"
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            _write_all(file, pieces)
            if sync:
                os.fsync(file)
        finally:
            os.close(file)
        os.rename(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def move(old: Path, new: Path, *, sync: bool = True) -> None:
    """Rename `old` to `new`, in one step and durably; raises FileNotFoundError if `old` has gone."""
    os.rename(old, new)
    if sync:
        sync_directory(new.parent)
        if old.parent != new.parent:
            sync_directory(old.parent)


def remove(path: Path) -> None:
    """Delete a file durably; raises FileNotFoundError if it has gone."""
    os.unlink(path)
    sync_directory(path.parent)


def make_directories(*directories: Path) -> None:
    """Create directories (mode 0700) with their parents, durably; those that exist stay as they are."""
    for directory in directories:
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Return when every change made in `directory` before this call is on the disk.

    Threads that ask at the same time share one fsync.
    """
    key = str(directory)
    shared = _shared.get(key)
    if shared is None:
        shared = _shared.setdefault(key, _SharedSync(key))
    shared.sync()


class _SharedSync:
    """Group commit for one directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._count = threading.Lock()
        self._one = threading.Lock()
        self._started = 0
        self._done = 0

    def sync(self) -> None:
        with self._count:
            # Only an fsync that starts after this moment is sure to cover the caller's change.
            wanted = self._started + 1
        with self._one:
            if self._done >= wanted:
                return
            with self._count:
                self._started += 1
                turn = self._started
            file = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(file)
            finally:
                os.close(file)
            self._done = turn


_shared: dict[str, _SharedSync] = {}


def _write_all(file: int, pieces: Sequence[bytes]) -> None:
    rest = deque(memoryview(piece) for piece in pieces if piece)
    while rest:
        written = os.writev(file, list(itertools.islice(rest, _IOV_MAX)))
        # A write may end anywhere, for instance at a file size limit or at a signal.
        while written:
            if written < len(rest[0]):
                rest[0] = rest[0][written:]
                break
            written -= len(rest.popleft())
