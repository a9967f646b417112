"""The one safe writer: what it has written is on the disk, whole, or not there at all.

Temporary file in the same file system, written synchronously, rename, fsync of the directory. All functions block; the
callers run them in threads. All raise OSError.
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
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
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


def place(path: Path | str, pieces: Sequence[bytes], *, temporary: Path | str | None = None, sync: bool = True) -> None:
    """`write` that is not safe yet: the caller has to `sync_directory`, once for several files."""
    folder, name = os.path.split(path)
    unfinished = f"{temporary or folder or os.curdir}{os.sep}.{name}.{os.getpid()}.{next(_number)}"
    # What is written with O_SYNC is on the disk when the call returns. An fsync would be one more call after which a
    # thread waits for its turn at the interpreter; while a loop is busy that costs more than most calls themselves.
    file = os.open(unfinished, _NEW | os.O_SYNC if sync else _NEW, 0o600)
    try:
        try:
            if not _write_all(file, pieces) and sync:
                os.fsync(file)
        finally:
            os.close(file)
        os.rename(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def move(old: Path | str, new: Path | str, *, sync: bool = True) -> None:
    """Rename `old` to `new`, in one step and durably; raises FileNotFoundError if `old` has gone."""
    os.rename(old, new)
    if sync:
        for folder in dict.fromkeys((os.path.dirname(new), os.path.dirname(old))):
            sync_directory(folder or os.curdir)


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


def sync_directory(directory: Path | str) -> None:
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


def _write_all(file: int, pieces: Sequence[bytes]) -> bool:
    """False if there was nothing to write."""
    rest = deque(memoryview(piece) for piece in pieces if piece)
    some = bool(rest)
    while rest:
        written = os.writev(file, list(itertools.islice(rest, _IOV_MAX)))
        # A write may end anywhere, for instance at a file size limit or at a signal.
        while written:
            if written < len(rest[0]):
                rest[0] = rest[0][written:]
                break
            written -= len(rest.popleft())
    return some
