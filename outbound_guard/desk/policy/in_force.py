"""The policy: what is in force and where it comes from; a new text for it, checked, saved, taken back.

A text is saved only over the one that its author has seen, only if nothing is wrong with it, and with its entry in the
audit first. What was there before stays as a dated copy in data_dir/policies.
"""

from __future__ import annotations

import asyncio
import calendar
import fcntl
import hashlib
import os
import re
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard import durable
from outbound_guard.clock import Clock
from outbound_guard.config import Allow, Config, ConfigError, Policy, load, used
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.policy.candidate import Candidate, Change, changes, difference, read_candidate, said, settings
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit

KEPT_COPIES = 200
RELOAD_SECONDS = 5.0
"""How long a save waits for the processes to say that they use it."""
_LOOK = 0.05
_LONGEST = 256 * 1024 * 4
"""Octets of a file that are read."""
_COPY = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}\.toml")
_DAY = 86400.0


class Setting(msgspec.Struct, frozen=True):
    """One setting of the policy, as it is in force."""

    where: str
    """Its path, for example `threshold.hold`."""
    value: Any
    packaged: Any
    """Its default."""
    in_file: bool
    """The file says it; else it has its default."""


class Copy(msgspec.Struct, frozen=True):
    """A text that was the policy once."""

    name: str
    replaced: float
    """Unix seconds."""
    size: int


class InForce(msgspec.Struct, frozen=True):
    """The policy that the configuration names."""

    file: str
    """Empty: the packaged policy, since the configuration names no file."""
    mode: str
    """enforce | observe: in this mode nothing of what follows has an effect on mail."""
    text: str
    """The file's; empty for the packaged policy."""
    sha256: str
    """Of `text`: a save names it, to say which text it was made from."""
    changed: float
    """Unix seconds; 0 for the packaged policy."""
    problem: str
    """Why the file cannot be used now, so that the processes stay with what they had; empty: it can."""
    settings: tuple[Setting, ...]
    allow: tuple[Allow, ...]
    processes: dict[str, bool]
    """By slot: whether the process judges by this policy by now."""

    def value(self, where: str) -> Any:
        """The value of a setting."""
        return next(setting.value for setting in self.settings if setting.where == where)


class Saved(msgspec.Struct, frozen=True):
    """What a save has done."""

    file: str
    copy: str
    """The name of the copy of what was there before."""
    changes: tuple[Change, ...]
    told: bool
    """The service was told to read it."""
    processes: dict[str, bool]
    """By slot: whether the process judges by it by now."""

    @property
    def waiting(self) -> list[str]:
        """The processes that do not use it yet."""
        return [slot for slot, uses in self.processes.items() if not uses]


def in_force(config: Config) -> InForce:
    """The policy as its file says it now. Blocks. Raises DeskError if the configuration cannot be read any more."""
    config = _now(config)
    if not config.policy.file:
        return _shown(config, None, "", 0.0, Candidate("", Policy()))
    path = config.resolve(config.policy.file)
    try:
        text, changed = _read(path), path.stat().st_mtime
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        return _shown(config, path, "", 0.0, Candidate("", Policy()), problem)
    found = read_candidate(text)
    problem = "; ".join(": ".join(filter(None, (one.where, one.what))) for one in found.problems)
    return _shown(config, path, text, changed, found, problem)


def policy_in_force(config: Config) -> Policy:
    """The policy that the configuration names now. Blocks. Raises DeskError if it cannot be used."""
    config = _now(config)
    if not config.policy.file:
        return Policy()
    found = read_candidate(_text_of(config.resolve(config.policy.file)))
    if found.policy is None:
        raise DeskError(f"{config.policy.file} cannot be used: {found.problems[0].where}: {found.problems[0].what}")
    return found.policy


def days_left(rule: Allow, now: float) -> int:
    """Days until an allow rule ends, its last one included; below 1 it has ended."""
    today = time.strftime("%Y-%m-%d", time.gmtime(now))
    begin, end = (calendar.timegm(time.strptime(day, "%Y-%m-%d")) for day in (today, rule.until))
    return round((end - begin) / _DAY) + 1


async def save(
    config: Config,
    journal: Journal,
    clock: Clock,
    text: str,
    *,
    by: str,
    instead_of: str,
    reason: str = "",
    backtest: str = "",
    reload: Callable[[], bool] = lambda: False,
) -> Saved:
    """Make `text` the policy, and have the processes read it.

    `instead_of`: the SHA-256 of the text that it was made from. `backtest`: the id of its back-test, if there was one;
    the audit says so either way. Raises DeskError; then the policy is as it was.
    """
    path, copy, moved = await asyncio.to_thread(
        _put, config, journal, clock, text, by, instead_of, reason, backtest or "no back-test"
    )
    told = reload()
    wanted = used.digest(read_candidate(text).policy or Policy())
    run, end = config.data_dir / "run", time.monotonic() + RELOAD_SECONDS
    processes = _who_uses(run, wanted)
    while told and not all(processes.values()) and time.monotonic() < end:
        await asyncio.sleep(_LOOK)
        processes = await asyncio.to_thread(_who_uses, run, wanted)
    return Saved(str(path), copy, tuple(moved), told, processes)


def copies(config: Config) -> list[Copy]:
    """What was the policy once, the last replaced first. Blocks."""
    found = []
    for file in _folder(config).glob("*.toml"):
        if _COPY.fullmatch(file.name):
            replaced = _time_of(file.name)
            found.append(Copy(file.name, replaced, file.stat().st_size))
    return sorted(found, key=lambda copy: copy.name, reverse=True)


def copy_text(config: Config, name: str) -> str:
    """The text of a copy. Blocks. Raises DeskError if there is no such copy."""
    if not _COPY.fullmatch(name):
        raise DeskError(f"no copy {name}")
    try:
        return _read(_folder(config) / name)
    except OSError:
        raise DeskError(f"no copy {name}") from None


def what_would_change(config: Config, text: str) -> tuple[Candidate, list[Change], list[str]]:
    """A candidate as it is read, what it changes by settings, and by lines. Blocks. Raises DeskError."""
    now = in_force(config)
    found = read_candidate(text)
    before = read_candidate(now.text).policy if now.file else Policy()
    moved = changes(before, found.policy) if before and found.policy else []
    return found, moved, difference(now.text, text)


def fingerprint(text: str) -> str:
    """The SHA-256 of a text, as `instead_of` names it."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def how_to_have_a_file(config: Config) -> str:
    """What to do so that the policy can be changed here, if the configuration uses the packaged one."""
    return (
        f'the packaged policy is in force. To have one of your own, write file = "policy.toml" under [policy] in '
        f"{config.path}, with such a file (it may be empty) beside it, and reload the service"
    )


# -- Below: files ----------------------------------------------------------------------------------------------------


def _put(
    config: Config, journal: Journal, clock: Clock, text: str, by: str, instead_of: str, reason: str, tested: str
) -> tuple[Path, str, list[Change]]:
    config, found = _now(config), read_candidate(text)
    if not config.policy.file:
        raise DeskError(how_to_have_a_file(config))
    if found.policy is None:
        problem = found.problems[0]
        raise DeskError(f"not saved: {': '.join(filter(None, (problem.where, problem.what)))}")
    path = config.resolve(config.policy.file).resolve()
    with _alone(config):
        now = _text_of(path)
        if fingerprint(now) != instead_of:
            raise DeskError("not saved: the policy was changed by somebody else meanwhile; look at it and try again")
        if now == text:
            raise DeskError("not saved: nothing is different")
        before = read_candidate(now).policy
        moved = changes(before, found.policy) if before else []
        told = "; ".join(map(said, moved)) or "only its wording"
        detail = f"{reason}: {told}" if reason else told
        try:
            copy = _keep_copy(config, now, clock.now())
        except OSError as error:
            raise DeskError(f"not saved, since no copy can be kept: {error.strerror or error}") from error
        on_disk(
            journal,
            Audit(time=clock.now(), by=by, what="policy.save", subject=copy, detail=f"({tested}) {detail}"[:4000]),
        )
        try:
            permissions = path.stat().st_mode & 0o777
            durable.write(path, [text.encode()])
            os.chmod(path, permissions)
        except OSError as error:
            why = f"{path} cannot be written: {error.strerror or error}"
            journal.append(Audit(time=clock.now(), by=by, what="policy.failed", subject=copy, detail=why))
            raise DeskError(
                f"not saved: {why}; the user of the service must be allowed to write in its folder"
            ) from error
    return path, copy, moved


def _keep_copy(config: Config, text: str, now: float) -> str:
    folder = _folder(config)
    durable.make_directories(folder)
    octets = text.encode()
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{hashlib.sha256(octets).hexdigest()[:12]}.toml"
    durable.write(folder / name, [octets])
    for old in copies(config)[KEPT_COPIES:]:
        (folder / old.name).unlink(missing_ok=True)
    return name


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    """One save at a time, whichever process it is in. Raises DeskError."""
    try:
        durable.make_directories(_folder(config))
        file = os.open(_folder(config) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DeskError(f"not saved: {_folder(config)}: {error.strerror or error}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _shown(
    config: Config, path: Path | None, text: str, changed: float, found: Candidate, problem: str = ""
) -> InForce:
    policy = found.policy or Policy()
    said_in_file = _paths(text) if found.policy else set()
    packaged = dict(settings(Policy()))
    shown = tuple(
        # A table of limits in the file stands in the place of the packaged one as a whole.
        Setting(where, value, packaged.get(where), where in said_in_file or value != packaged.get(where))
        for where, value in settings(policy)
    )
    processes = _who_uses(config.data_dir / "run", used.digest(policy)) if not problem else {}
    file = str(path) if path else ""
    mode = config.policy.mode
    return InForce(file, mode, text, fingerprint(text), changed, problem, shown, policy.allow, processes)


def _paths(text: str) -> set[str]:
    """The paths of all settings that a text says."""
    found: set[str] = set()
    waiting: list[tuple[str, Any]] = [("", tomllib.loads(text))]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{where}.{name}" if where else name, inner) for name, inner in value.items()]
        else:
            found.add(where)
    return found


def _who_uses(run: Path, wanted: str) -> dict[str, bool]:
    return {slot: digest == wanted for slot, digest in used.used(run).items()}


def _now(config: Config) -> Config:
    """The configuration as its file says it now: which policy it names is read again on every reload."""
    if not config.path:
        return config
    try:
        return load(Path(config.path))
    except ConfigError as error:
        raise DeskError(f"the configuration cannot be used any more: {error}") from error


def _text_of(path: Path) -> str:
    try:
        return _read(path)
    except OSError as error:
        raise DeskError(f"{path} cannot be read: {error.strerror or error}") from error


def _read(path: Path) -> str:
    """Raises OSError. What is not UTF-8 cannot be a policy, but can be looked at."""
    with path.open("rb") as file:
        return file.read(_LONGEST).decode("utf-8", "replace")


def _folder(config: Config) -> Path:
    return config.data_dir / "policies"


def _time_of(name: str) -> float:
    return float(calendar.timegm(time.strptime(name[:16], "%Y%m%dT%H%M%SZ")))
