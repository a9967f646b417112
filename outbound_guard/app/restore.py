"""Puts a backup back into an empty data directory, so that nothing leaves twice without somebody's word.

Between the backup and the loss messages were delivered, released and deleted; the backup does not know which. So what
it has as queued or held is restored as held for a person, unless the caller says that it may go.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from outbound_guard import __version__
from outbound_guard.app.backup import MANIFEST, BackupError, Manifest
from outbound_guard.clock import SystemClock
from outbound_guard.config import Config
from outbound_guard.delivery.bounce import CODE
from outbound_guard.ledger.database import FILE
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, HeldChange
from outbound_guard.spool import Entry, copying
from outbound_guard.spool import State as MessageState
from outbound_guard.supervisor import lock

REASON = "restored from a backup: it may have been delivered since"
_NOTHING = ("lost+found", lock.FILE)
"""What an empty data_dir may hold."""
_NOT_DATA = ("spool", "journal", "state", "run", lock.FILE, *(f"{FILE}{end}" for end in ("", "-wal", "-shm")))
"""What has its own place in a backup, or is a running service's."""


class Restored(msgspec.Struct, frozen=True):
    """What was put back."""

    made: float
    """Unix seconds at which the backup began."""
    messages: dict[MessageState, int]
    """By the state that they are in now."""
    ending: int
    """Held ones that go back to their senders at the next start, since they are older than spool.hold_expiry."""
    notes: tuple[str, ...] = ()


def restore(config: Config, backup: Path, *, queue: bool, by: str) -> Restored:
    """Put `backup` back into the data directory of `config`, which must be empty, with no product running on it.

    `queue`: what was queued is queued again, and what was held waits as it did; then mail may leave twice.
    `by`: who does it. Raises BackupError, ConfigError (a product runs there), OSError.
    """
    manifest = _manifest(backup)
    _harmless(backup)
    data = config.data_dir
    with lock.locked(data):
        if found := sorted(item.name for item in data.iterdir() if item.name not in _NOTHING):
            raise BackupError(f"{data} is not empty ({', '.join(found[:3])}): move away what is in it")
        try:
            done = _put_back(config, backup, manifest, queue=queue, by=by)
        except BaseException:
            # Half of it would look like all of it at the next start.
            for item in data.iterdir():
                if item.name not in _NOTHING:
                    shutil.rmtree(item) if item.is_dir() else item.unlink()
            raise
    return done


def _manifest(backup: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupError(f"{backup} is no backup, or one that was not finished: it has no {MANIFEST}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupError(f"{backup / MANIFEST} cannot be read: {error}") from error
    if _numbers(manifest.version) > _numbers(__version__):
        raise BackupError(
            f"it is a backup of version {manifest.version}, and this is {__version__}: install that one, or a later one"
        )
    return manifest


def _harmless(backup: Path) -> None:
    """Raises BackupError if it has what no backup of ours has: root would put back what others have made of it."""
    for name in ("spool", "journal", "state", "data", FILE):
        part = backup / name
        for item in (part, *part.rglob("*")):
            if item.is_symlink():
                raise BackupError(f"{item} is a symbolic link, which no backup has: it was changed since it was made")
    for name in _NOT_DATA:
        if (backup / "data" / name).exists():
            raise BackupError(f"{backup / 'data' / name} does not belong there: it was changed since it was made")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _put_back(config: Config, backup: Path, manifest: Manifest, *, queue: bool, by: str) -> Restored:
    data, clock = config.data_dir, SystemClock()

    def place(state: MessageState, entry: Entry) -> MessageState:
        # Reports of our own are not for people to decide about; to be told twice is better than never.
        return "held" if state in ("queue", "incoming") and not queue and entry.code != CODE else state

    for name in ("data", "journal", "state"):
        for file in _files(backup / name):
            target = (data if name == "data" else data / name) / file.relative_to(backup / name)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            copying.copy_file(file, target)
    if (backup / FILE).exists():
        copying.copy_file(backup / FILE, data / FILE)
    now = clock.now()
    put = copying.put_back(backup / "spool", data / "spool", place, now, decided=not queue)
    journal = Journal(data / "journal", f"restore-{os.getpid()}", clock)
    held = [(entry, state) for entry, state in put if state in ("held", "quarantine")]
    for entry, state in held if not queue else ():
        journal.append(HeldChange(entry.id, now, state, by=by, reason=REASON))
    journal.write(Audit(now, by, "restore", socket.gethostname(), f"{backup}, made {time.ctime(manifest.made)}"))
    journal.close()
    _give_to_owner(data)
    states = [state for _, state in put]
    old = sum(1 for entry, state in held if state == "held" and entry.received < now - config.spool.hold_expiry)
    return Restored(
        made=manifest.made,
        messages={state: states.count(state) for state in manifest.messages},
        ending=0 if queue else old,
        notes=manifest.notes,
    )


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def _give_to_owner(data: Path) -> None:
    """What root puts back must be usable for the service's own user, whose data directory it is. Raises OSError."""
    if os.geteuid() == 0:
        owner = data.stat()
        for file in data.rglob("*"):
            os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)
