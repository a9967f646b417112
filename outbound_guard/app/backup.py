"""A copy of everything that must not be lost, made while the product runs; `restore` puts it back.

    backup.json      what it is; written last, so that a folder without it is no backup
    spool/           messages at rest (hard links on the same disk: they never change)
    journal/         records that were not in the ledger yet
    ledger.sqlite3   the ledger, unless it is elsewhere
    state/           counters, baselines and suspicion of the embedded server, if they could be had
    data/            whatever else lies in data_dir, such as the secret of the tokens
    configuration/   the configuration and every file that it names, under the whole path of each

The order is that in which things move: what goes on from the spool to the journal and from there to the ledger
meanwhile is found at least once, and records may be stored twice.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard import __version__, durable
from outbound_guard.config import Config, ConfigError
from outbound_guard.ledger import database, segments
from outbound_guard.ledger.database import Ledger
from outbound_guard.spool import State as MessageState
from outbound_guard.spool import copying
from outbound_guard.state import State, StateError, embedded, snapshot
from outbound_guard.supervisor import lock

MANIFEST = "backup.json"
LEFT_OUT = ("run", "lock", "node-id", "spool", "journal", "state", "incoming", "recording", "mta-sts", "sink")
"""Of data_dir: what is copied in its own way, what only this host or a running service means, what can be had again."""
_SNAPSHOT_SECONDS = 120.0


class BackupError(Exception):
    """It cannot be backed up or put back; nothing was changed."""


class Manifest(msgspec.Struct, frozen=True):
    """What a backup is."""

    version: str
    """Of the product."""
    made: float
    """Unix seconds at which it began: what came in later is not in it."""
    config: str
    data_dir: str
    messages: dict[MessageState, int]
    ledger: bool
    """False: it is elsewhere (PostgreSQL), and not in here."""
    state: bool
    """False: senders are judged as if new after a restore."""
    notes: tuple[str, ...] = ()
    """What is not in it and why, in sentences."""


def back_up(config: Config, target: Path) -> Manifest:
    """Copy what must not be lost into `target`, a folder that is made or empty.

    Blocks. Raises BackupError, LedgerError, OSError; then `target` is no backup.
    """
    data, made, notes = config.data_dir, time.time(), list[str]()
    if not data.is_dir():
        raise BackupError(f"{data} does not exist: there is nothing to back up")
    if target.resolve().is_relative_to(data.resolve()):
        raise BackupError(f"{target} lies in data_dir, which it is a backup of")
    for name in ("spool", "journal", "state", database.FILE):
        if (data / name).is_symlink():
            raise BackupError(f"{data / name} is a symbolic link, which is not followed: mount there what it leads to")
    _empty(target)
    messages = copying.copy(data / "spool", target / "spool")
    _journal(data / "journal", target / "journal", notes)
    if config.ledger.url == "embedded":
        _ledger(data, target)
    else:
        notes.append("the ledger is not in it: it is not embedded; back it up where it is (pg_dump), after this")
    has_state = _state(config, target / "state", notes)
    left_out = {*LEFT_OUT, *(f"{database.FILE}{end}" for end in ("", "-wal", "-shm"))}
    for item in sorted(data.iterdir()):
        if item.name not in left_out and not item.name.startswith(("state.unreadable-", ".")):
            _copy_tree(item, target / "data" / item.name, notes)
    for file in sorted(set(_named(config))):
        # Whoever names a link in the configuration means what it leads to.
        _copy_tree(file.resolve(), target / "configuration" / str(file).lstrip("/"), notes, follow=True)
    manifest = Manifest(
        version=__version__,
        made=made,
        config=config.path,
        data_dir=str(data),
        messages=messages,
        ledger=config.ledger.url == "embedded",
        state=has_state,
        notes=tuple(notes),
    )
    durable.write(target / MANIFEST, (msgspec.json.format(msgspec.json.encode(manifest)), b"\n"))
    return manifest


def _empty(target: Path) -> None:
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise BackupError(f"{target} is not empty")
        if target.stat().st_uid != os.geteuid():
            raise BackupError(f"{target} belongs to somebody else, who could read and change what is in it")
        # It holds mail and keys.
        target.chmod(0o700)
    except (FileExistsError, NotADirectoryError) as error:
        raise BackupError(f"{target} is not a folder") from error


def _journal(source: Path, target: Path, notes: list[str]) -> None:
    """Copy the journal, twice, since a segment that is sealed before its turn comes has another name then."""
    _copy_tree(source, target, notes)
    for file in sorted(source.iterdir()) if source.is_dir() else ():
        if not (target / file.name).exists() and not file.is_symlink():
            _copy_tree(file, target / file.name, notes)
    if target.is_dir():
        durable.sync_directory(target)
    for file in segments.sealed(target):
        # Copied while it was open it may lack its end, and after a restore would take the place of the whole one.
        file.with_suffix(segments.OPEN).unlink(missing_ok=True)


def _ledger(data: Path, target: Path) -> None:
    if not (data / database.FILE).exists():
        return
    ledger = Ledger(f"sqlite:///{data / database.FILE}")
    try:
        ledger.copy_to(target / database.FILE)
    finally:
        ledger.close()


def _state(config: Config, target: Path, notes: list[str]) -> bool:
    """Copy what the embedded server knows; True if that could be had."""
    if config.state.url != "embedded":
        notes.append("the counters are not in it: state.url names a server of yours")
        return False
    if lock.holder(config.data_dir) is None:
        _copy_tree(config.data_dir / "state", target, notes)
        return target.exists()
    try:
        file = asyncio.run(_snapshot(config))
        target.mkdir(mode=0o700)
        copying.copy_file(file, target / snapshot.LOG)
        file.unlink()
        return True
    except (StateError, ConfigError, OSError) as error:
        notes.append(f"the counters are not in it, senders will be judged as if new: {error}")
        shutil.rmtree(target, ignore_errors=True)
        return False


async def _snapshot(config: Config) -> Path:
    url = f"unix://{embedded.socket_path(config.data_dir)}"
    state = await State.connect(url, timeout=5.0, count=lambda *_, **__: None)
    try:
        return await snapshot.snapshot(state, config.data_dir, seconds=_SNAPSHOT_SECONDS)
    finally:
        await state.close()


def _copy_tree(source: Path, target: Path, notes: list[str], *, follow: bool = False) -> None:
    """Copy a file, or a folder with all below it. What vanishes meanwhile is left out. Raises OSError.

    Symbolic links are left out with a note, since root would copy for the service's user what that may not read;
    `follow`: those that lead to files are followed.
    """
    if source.is_symlink():
        if not follow or not source.is_file():
            notes.append(f"{source} is not in it: it is a symbolic link")
            return
        source = source.resolve()
    if source.is_dir():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for item in sorted(source.iterdir()):
            _copy_tree(item, target / item.name, notes, follow=follow)
        durable.sync_directory(target)
    elif source.is_file():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            copying.copy_file(source, target)
        except FileNotFoundError:
            target.unlink(missing_ok=True)


def _named(config: Config) -> Iterator[Path]:
    """The configuration's own file, and all files that a setting names; of folders only that of the letters' texts."""
    yield Path(config.path).absolute()
    if config.cases.texts:
        yield config.resolve(config.cases.texts)
    for text in _texts(config):
        # Whatever setting it is: the name of a file that is there is worth its copy.
        if text and "\n" not in text and len(text) < os.pathconf("/", "PC_PATH_MAX"):
            try:
                file = config.resolve(text)
                if file.is_file() and not file.is_relative_to(config.data_dir):
                    yield file
            except (OSError, ValueError, RuntimeError):
                continue


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _texts(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
