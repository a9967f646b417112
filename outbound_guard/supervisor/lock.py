"""The lock of a data directory: whoever holds it, a running product or a restore, is alone there."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from outbound_guard.config import ConfigError

FILE = "lock"


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Make the data directory and keep others out of it. Raises ConfigError if it is taken or cannot be made."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data_dir / FILE).open("a+", encoding="ascii")
    except OSError as error:
        raise ConfigError(f"server.data_dir: {data_dir}: {error.strerror or error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(f"server.data_dir: {data_dir} is in use by process {file.read().strip()}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def holder(data_dir: Path) -> int | None:
    """The process that keeps others out of the data directory; None if there is none, or it does not say who it is."""
    try:
        with (data_dir / FILE).open(encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else None
    except FileNotFoundError:
        pass
    return None
