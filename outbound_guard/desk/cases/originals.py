"""The originals of letters, with the names and numbers that people wrote into them, kept apart and for a while only.

A case keeps redacted texts. What they were made from lies in files of its own, which only the service's user can open
and only the logins named in `cases.original_readers` are shown; neither the ledger nor an export ever holds it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from outbound_guard import durable
from outbound_guard.config import Config
from outbound_guard.desk.cases.stages import DAY
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger.segments import give_to_owner

LARGEST = 1_048_576
"""Octets of one original."""


class Original(msgspec.Struct, frozen=True):
    """The first line of a file: what it is."""

    id: str
    case: str
    time: float
    by: str
    name: str = ""


class Originals:
    """The folder they lie in."""

    def __init__(self, config: Config) -> None:
        self._folder = config.data_dir / "cases" / "originals"
        self._keep = config.cases.original_days * DAY
        self._readers = config.cases.original_readers

    def keep(self, original: Original, content: bytes) -> None:
        """Have it on the disk when this returns. Raises DeskError."""
        if len(content) > LARGEST:
            raise DeskError(f"too many octets; at most {LARGEST} can be kept")
        try:
            for folder in (self._folder.parent, self._folder):
                if not folder.is_dir():
                    durable.make_directories(folder)
                    _give_to_owner(folder, self._folder.parent.parent)
            durable.write(self._path(original.id), [msgspec.json.encode(original), b"\n", content])
            _give_to_owner(self._path(original.id), self._folder)
        except OSError as error:
            raise DeskError(
                f"nothing was done, since the original cannot be kept: {error.strerror or error}"
            ) from error

    def may_read(self, by: str) -> bool:
        """True if the configuration names who asks: a login, or somebody of the console as `console:NAME`.

        A bare name is a login of the machine alone; whoever makes users of the console cannot take it.
        """
        return by in self._readers or by.removeprefix("cli:") in self._readers

    def read(self, id_: str, case: str, *, by: str, now: float) -> bytes:
        """An original. Raises DeskError if `by` may not see it, if it has expired, and if there is none."""
        if not self.may_read(by):
            raise DeskError(f"{by} may not read originals: cases.original_readers does not name this login")
        try:
            head, _, content = self._path(id_).read_bytes().partition(b"\n")
            original = msgspec.json.decode(head, type=Original)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            original = None
            content = b""
        if original is None or original.case != case or now - original.time >= self._keep:
            raise DeskError(f"no original {id_} in {case}: there was none, or it has expired")
        return content

    def expired(self, now: float) -> list[Original]:
        """What has been kept for long enough. Raises OSError."""
        found = []
        for path in sorted(self._folder.glob("*.original")) if self._folder.is_dir() else ():
            with path.open("rb") as file:
                head = file.readline(LARGEST)
            try:
                original = msgspec.json.decode(head, type=Original)
            except (msgspec.DecodeError, UnicodeDecodeError):
                original = Original(path.stem, "", 0.0, "")
            if now - original.time >= self._keep:
                found.append(original)
        return found

    def remove(self, original: Original) -> None:
        """Delete one. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            durable.remove(self._path(original.id))

    def _path(self, id_: str) -> Path:
        if not id_.isalnum():
            raise DeskError(f"{id_!r} is no id of an original")
        return self._folder / f"{id_}.original"


def _give_to_owner(path: Path, owner: Path) -> None:
    """What root makes on the command line must stay usable for the service's own user. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        give_to_owner(fd, owner)
    finally:
        os.close(fd)
