"""Back-tests: a candidate policy on recorded traffic, against the one in force, before it is saved.

It is the command `outbound-guard replay`, run as a process of its own: at the lowest priority, one at a time, for some
hours at most, and it ends with the service. What comes out lies in data_dir/backtests, a folder for each, the last 50.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard import durable
from outbound_guard.clock import Clock
from outbound_guard.config import Config, used
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.policy.candidate import read_candidate
from outbound_guard.desk.policy.in_force import fingerprint, in_force, policy_in_force
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit
from outbound_guard.mail import new_id
from outbound_guard.state import tether

KEPT = 50
MOST_SENDERS = 500
"""Senders of the report that are kept, those with the most changed messages."""
MOST_TRANSACTIONS = 2_000_000
LONGEST = 6 * 3600.0
"""Seconds."""
RUNNING = "running"
_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{16}")
_SAVED = 0.5
"""Seconds between two words on the progress."""
_ENDS = 5.0
"""Seconds from SIGTERM to SIGKILL."""
_PART = re.compile(r"(\d{8})-[\w.-]+\.(?:jsonl|zbin)")


class Day(msgspec.Struct, frozen=True):
    """A recorded day (UTC)."""

    day: str
    """YYYYMMDD"""
    octets: int


class Backtest(msgspec.Struct, frozen=True):
    """One back-test."""

    id: str
    started: float
    """Unix seconds."""
    by: str
    candidate: str
    """The SHA-256 of the candidate's text."""
    trace: str
    days: tuple[str, ...]
    """The recorded days; empty: all of the trace."""
    state: str = RUNNING
    """running | done | cancelled | failed"""
    transactions: int = 0
    """Of the trace."""
    progress: float = 0.0
    """0 to 1."""
    ended: float = 0.0
    error: str = ""
    in_force: str = ""
    """The digest (config.used) of the policy that it was compared with."""


class Backtests:
    """The back-tests of one service. Its `close` must be awaited at the end."""

    def __init__(self, config: Config, clock: Clock, journal: Journal) -> None:
        self._config, self._clock, self._journal = config, clock, journal
        self._folder = config.data_dir / "backtests"
        self._task: asyncio.Task[None] | None = None
        self._beginning = False
        self._now: Backtest | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._cancelled = False

    # -- Asking: these block -----------------------------------------------------------------------------------------

    def days(self) -> list[Day]:
        """The recorded days, the last first; none if nothing is recorded."""
        sizes: dict[str, int] = {}
        with contextlib.suppress(OSError), os.scandir(self._config.recording_dir) as entries:
            for entry in entries:
                if found := _PART.fullmatch(entry.name):
                    sizes[found[1]] = sizes.get(found[1], 0) + entry.stat().st_size
        return [Day(day, sizes[day]) for day in sorted(sizes, reverse=True)]

    def all(self) -> list[Backtest]:
        """The back-tests that are kept, the last first."""
        names = [path.parent.name for path in self._folder.glob("*/backtest.json")]
        found = (self._read(name) for name in sorted(names, reverse=True))
        return [test for test in found if test]

    def one(self, id_: str) -> Backtest:
        """Raises DeskError if there is none."""
        test = self._now if self._now and self._now.id == id_ else self._read(id_) if _ID.fullmatch(id_) else None
        if test is None:
            raise DeskError(f"no back-test {id_}")
        return test

    def report(self, id_: str) -> dict[str, Any] | None:
        """The report of replay.backtest, with `senders_left_out`; None if it is not done. Raises DeskError."""
        test = self.one(id_)
        try:
            report: dict[str, Any] = msgspec.json.decode((self._folder / test.id / "report.json").read_bytes())
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        left = len(report["senders"]) - MOST_SENDERS
        report["senders"] = report["senders"][:MOST_SENDERS]
        return report | {"senders_left_out": max(left, 0)}

    def candidate(self, id_: str) -> str:
        """The text that was tried. Raises DeskError."""
        try:
            return (self._folder / self.one(id_).id / "candidate.toml").read_text(encoding="utf-8")
        except OSError as error:
            raise DeskError(f"the candidate of back-test {id_} cannot be read: {error.strerror or error}") from error

    def of(self, text: str) -> Backtest | None:
        """The last back-test of a text that is done, against the policy that is in force now."""
        wanted = fingerprint(text)
        with contextlib.suppress(DeskError):
            now = used.digest(policy_in_force(self._config))
            for test in self.all():
                if test.candidate == wanted and test.state == "done" and test.in_force == now:
                    return test
        return None

    # -- Acting ------------------------------------------------------------------------------------------------------

    async def start(self, text: str, *, by: str, days: tuple[str, ...] = (), trace: Path | None = None) -> Backtest:
        """Begin to try `text` on recorded traffic: that of some `days`, of all, or another trace.

        Raises DeskError if it cannot be, for instance since one is running.
        """
        if self._beginning or (self._task and not self._task.done()):
            raise DeskError("a back-test is running already; wait for its end, or cancel it")
        self._beginning = True
        try:
            test = await asyncio.to_thread(self._prepare, text, by, days, trace)
        except OSError as error:
            raise DeskError(f"the back-test cannot begin: {error.strerror or error}") from error
        finally:
            self._beginning = False
        self._note(by, "backtest.start", test.id)
        self._now, self._cancelled = test, False
        self._task = asyncio.get_running_loop().create_task(self._run(test), name="back-test")
        return test

    async def cancel(self, id_: str, *, by: str) -> None:
        """End a back-test that is running. Raises DeskError if it is not."""
        if self._task is None or self._now is None or self._now.id != id_ or self._task.done():
            raise DeskError(f"back-test {id_} is not running")
        self._note(by, "backtest.cancel", id_)
        self._cancelled = True
        await self._end_process()
        await asyncio.gather(self._task, return_exceptions=True)

    def _note(self, by: str, what: str, id_: str) -> None:
        on_disk(self._journal, Audit(time=self._clock.now(), by=by, what=what, subject=id_))

    async def idle(self) -> None:
        """Return when nothing is running."""
        if self._task:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """End what is running; it counts as cancelled."""
        if self._task and not self._task.done() and self._now:
            self._cancelled = True
            await self._end_process()
            await asyncio.gather(self._task, return_exceptions=True)

    def interrupted(self) -> None:
        """At the start of the service: what ran when it ended last is over. Blocks."""
        for test in self.all():
            if test.state == RUNNING:
                ended = msgspec.structs.replace(test, state="cancelled", error="the service ended", ended=test.started)
                with contextlib.suppress(OSError):
                    self._write(ended)

    # -- Below -------------------------------------------------------------------------------------------------------

    def _prepare(self, text: str, by: str, days: tuple[str, ...], trace: Path | None) -> Backtest:
        found = read_candidate(text)
        if found.policy is None:
            problem = found.problems[0]
            raise DeskError(f"not tried: {': '.join(filter(None, (problem.where, problem.what)))}")
        policy = policy_in_force(self._config)
        source = trace or self._config.recording_dir
        known = {day.day for day in self.days()} if trace is None else set()
        if trace is None and not known:
            raise DeskError("nothing is recorded: switch it on with enabled = true under [recording], and restart")
        if unknown := set(days) - known:
            raise DeskError(f"nothing is recorded of {', '.join(sorted(unknown))}")
        id_ = new_id(self._clock.now())
        place = self._folder / id_
        durable.make_directories(place)
        try:
            durable.write(place / "candidate.toml", [text.encode()], sync=False)
            durable.write(place / "in-force.toml", [in_force(self._config).text.encode()], sync=False)
            traffic = place / "traffic"
            traffic.mkdir(mode=0o700)
            for file in sorted(source.iterdir()):
                if trace or ((part := _PART.fullmatch(file.name)) and (not days or part[1] in days)):
                    (traffic / file.name).symlink_to(file.absolute())
            transactions = _count(traffic)
            if not transactions:
                raise DeskError(f"{source}: holds no recorded traffic")
            if transactions > MOST_TRANSACTIONS:
                raise DeskError(f"these days hold {transactions} transactions; at most {MOST_TRANSACTIONS} are tried")
            test = Backtest(
                id_, self._clock.now(), by, fingerprint(text), str(source), tuple(sorted(days)),
                transactions=transactions, in_force=used.digest(policy),
            )  # fmt: skip
            self._write(test)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        for old in sorted((path.name for path in self._folder.iterdir() if _ID.fullmatch(path.name)), reverse=True)[
            KEPT:
        ]:
            shutil.rmtree(self._folder / old, ignore_errors=True)
        return test

    async def _run(self, test: Backtest) -> None:
        place, temporary = self._folder / test.id, tempfile.mkdtemp(prefix="outbound-guard-")
        state, error = "failed", ""
        try:
            async with asyncio.timeout(LONGEST):
                error = await self._replay(test, place, temporary)
            state = "failed" if error else "done"
        except TimeoutError:
            error = f"it took longer than {LONGEST / 3600:.0f} hours"
        except OSError as failure:
            error = f"it could not be run: {failure.strerror or failure}"
        finally:
            await self._end_process()
            await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)
            await asyncio.to_thread(shutil.rmtree, place / "traffic", ignore_errors=True)
            if self._cancelled:
                state, error = "cancelled", ""
            now = self._now or test
            progress = 1.0 if state == "done" else now.progress
            self._now = msgspec.structs.replace(
                now, state=state, error=error, ended=self._clock.now(), progress=progress
            )
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._write, self._now)

    async def _replay(self, test: Backtest, place: Path, temporary: str) -> str:
        """Run the comparison; what went wrong, or an empty text."""
        command = [sys.executable, "-m", "outbound_guard", "replay", str(place / "traffic"), "--progress", "--json"]
        command += ["--all", "--policy", str(place / "candidate.toml")]
        if self._config.path:
            command += ["--config", self._config.path]
        # The tether ends it when this process ends, however that comes about.
        guarded = [sys.executable, "-I", "-S", str(Path(tether.__file__)), str(os.getpid()), *command]
        with (place / "report.part").open("wb") as out:
            self._process = process = await asyncio.create_subprocess_exec(
                *guarded,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "TMPDIR": temporary},
                start_new_session=True,
            )
            with contextlib.suppress(OSError):
                # Mail goes first; where that is not allowed it runs like any other process.
                os.setpriority(os.PRIO_PROCESS, process.pid, 19)
            said = await self._follow(process)
            code = await process.wait()
        if code:
            return said or f"it ended with status {code}"
        report = (place / "report.part").read_bytes()
        await asyncio.to_thread(durable.write, place / "report.json", [report])
        (place / "report.part").unlink()
        return ""

    async def _follow(self, process: asyncio.subprocess.Process) -> str:
        """Read how far it is until it ends; the last other line it said."""
        said, saved = "", 0.0
        if process.stderr is None or self._now is None:
            return ""
        while line := await process.stderr.readline():
            words = line.decode(errors="replace").split()
            if len(words) == 2 and all(word.isdigit() for word in words):
                done = (int(words[0]) - 1) * self._now.transactions + int(words[1])
                progress = min(done / (2 * self._now.transactions), 0.99)
                self._now = msgspec.structs.replace(self._now, progress=progress)
                if time.monotonic() - saved > _SAVED:
                    saved = time.monotonic()
                    await asyncio.to_thread(self._write, self._now)
            else:
                said = line.decode(errors="replace").strip().removeprefix("outbound-guard: ")[:500]
        return said

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _ENDS)
            except TimeoutError:
                process.kill()
                await process.wait()

    def _read(self, id_: str) -> Backtest | None:
        try:
            return msgspec.json.decode((self._folder / id_ / "backtest.json").read_bytes(), type=Backtest)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _write(self, test: Backtest) -> None:
        durable.write(self._folder / test.id / "backtest.json", [msgspec.json.encode(test)], sync=False)


def _count(traffic: Path) -> int:
    """How many transactions a trace holds."""
    number = 0
    for file in traffic.glob("*.jsonl"):
        if not file.name.endswith((".answers.jsonl", "labels.jsonl")):
            with file.open("rb") as lines:
                while block := lines.read(1 << 20):
                    number += block.count(b"\n")
    return number
