"""The spool copied while others work on it, and put back later. Everything here blocks and raises OSError.

Neither a message's file nor its progress ever changes once it has its name, so that a second name for the same file (a
hard link) is a copy as good as any, as long as the disk lives.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from outbound_guard import durable
from outbound_guard.spool.entry import Entry, Progress, State, encode_progress
from outbound_guard.spool.files import STATES, Files

_OTHERS = ("corrupt",)
"""Folders of the spool with files that people may want to look at."""


def copy(spool: Path, target: Path) -> dict[State, int]:
    """Copy the messages at rest into `target`, which does not exist yet; how many are in each state.

    What comes and goes meanwhile may or may not be among them; what moves from one state to another is, once.
    """
    found: dict[str, State] = {}
    folders = [target / name for name in (*STATES, "progress", *_OTHERS)]
    durable.make_directories(target, *folders)
    # Twice, since a message may move from a folder not yet looked at to one already seen.
    for state in STATES * 2:
        for id_ in _names(spool / state):
            if id_ not in found and take(spool / state / id_, target / state / id_):
                found[id_] = state
    for id_ in _names(spool / "progress"):
        if id_ in found:
            take(spool / "progress" / id_, target / "progress" / id_)
    for name in _OTHERS:
        for file in _names(spool / name):
            take(spool / name / file, target / name / file)
    for folder in folders:
        durable.sync_directory(folder)
    states = list(found.values())
    return {state: states.count(state) for state in STATES}


def put_back(
    backup: Path, spool: Path, place: Callable[[State, Entry], State], now: float, *, decided: bool
) -> list[tuple[Entry, State]]:
    """Copy the messages of `backup` into `spool`, which has none; each with the state it is in now.

    `place` says which state a message gets. With `decided` what is held waits for a person, whatever it waited for
    before. `now`: unix seconds.
    """
    done = []
    old, new = Files(backup, 0), Files(spool, 0)
    for state in STATES:
        for entry in old.entries(state):
            to, id_ = place(state, entry), entry.id
            progress = old.progress(id_)
            if to == "held" and decided:
                progress = msgspec.structs.replace(progress, due=0.0, since=now)
            if progress != Progress():
                durable.write(spool / "progress" / id_, (encode_progress(progress),), sync=False)
            copy_file(old.path(id_, state), new.path(id_, to))
            done.append((entry, to))
    for name in _OTHERS:
        for file in _names(backup / name):
            copy_file(backup / name / file, spool / name / file)
    for folder in (*STATES, "progress"):
        durable.sync_directory(spool / folder)
    return done


def take(source: Path, target: Path) -> bool:
    """Give a file that never changes a second name, or copy it to another disk; False if it has gone, or is a link."""
    if source.is_symlink():
        # It is no message, and root must not follow it.
        return False
    try:
        try:
            os.link(source, target)
        except FileNotFoundError:
            return False
        except OSError:
            copy_file(source, target)
    except FileNotFoundError:
        return False
    return True


def copy_file(source: Path, target: Path) -> None:
    """Copy a file with its time, for its owner's eyes only, and have it on the disk. It follows no symbolic link."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        open(os.open(source, os.O_RDONLY | flags), "rb") as old,
        open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags, 0o600), "wb") as new,
    ):
        shutil.copyfileobj(old, new)
        new.flush()
        os.fchmod(new.fileno(), 0o600)
        was = os.fstat(old.fileno())
        os.utime(new.fileno(), ns=(was.st_atime_ns, was.st_mtime_ns))
        os.fsync(new.fileno())


def _names(folder: Path) -> list[str]:
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed", str(folder))
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
