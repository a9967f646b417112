"""One process of a role: started, known to be ready, started again when it ends unasked, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from outbound_guard import metrics
from outbound_guard.state import leftover

_log = logging.getLogger(__name__)

VARIABLE = "OUTBOUND_GUARD_CHILD"
"""Environment variable with what a child must know, as JSON; see `Setting.environment`."""
_HEAP = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "4194304", "MALLOC_TRIM_THRESHOLD_": "4194304"}
"""For glibc, unless somebody has set it. One heap: otherwise nearly every thread gets its own, and each keeps the most
that it was ever asked for. What is free at its end goes back beyond 4 MB: glibc begins with 128 kB, so that the octets
of a message are given back and asked for again page by page, and raises that to 64 MB with what it sees."""
_PAUSE = (0.1, 5.0)
"""Seconds until a child that ended unasked is started again: first and longest."""
_STEADY = 10.0
"""Seconds a child must have lived for its next restart to be quick again."""


class Setting(msgspec.Struct, frozen=True):
    """What all children are started with."""

    program: tuple[str, ...]
    """The first words of the command line, in front of `serve`."""
    config_path: Path
    run: Path
    """Folder for the pid files, data_dir/run."""
    sockets: Mapping[str, Mapping[str, int]]
    """File descriptors of the listening sockets that a role gets, by name: of relays the index of the listener in the
    configuration, of the console `console`."""
    state_url: str
    changed: Callable[[], None]
    """Called when a child has become ready or has ended."""
    crashed: Callable[[str], None]
    """Called with the role of a child that ended unasked."""

    def command(self, role: str, number: int) -> list[str]:
        """The command line of a child."""
        return [*self.program, *_arguments(self.config_path, role, number)]

    def environment(self, role: str, slot: str, ready_fd: int) -> dict[str, str]:
        """The environment of a child: ours, and what it must know.

        {"fds": {name of a listening socket: descriptor}, "ready_fd": where one byte says "I serve", "state_url",
        "slot", "parent"}
        """
        told = {
            "fds": dict(self.sockets.get(role, {})),
            "ready_fd": ready_fd,
            "state_url": self.state_url,
            "slot": slot,
            "parent": os.getpid(),
        }
        return {**_HEAP, **os.environ, VARIABLE: json.dumps(told)}


class Child:
    """One process, and the task that keeps it running."""

    def __init__(self, setting: Setting, role: str, number: int) -> None:
        """Start it. The slot, for example `relay-0`, names it in metrics and logs."""
        self.role, self.number, self.slot = role, number, f"{role}-{number}"
        self.ready = asyncio.Event()
        self._setting = setting
        self._pid_file = setting.run / f"{self.slot}.pid"
        self._process: asyncio.subprocess.Process | None = None
        self._reload_when_ready = False
        self._stopping = False
        self._task = asyncio.create_task(self._keep(), name=self.slot)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def reload(self) -> None:
        """Tell it to read its policy again, as soon as it can be told."""
        # A process that has not set up its handler yet would end on SIGHUP.
        if self.ready.is_set():
            self._signal(signal.SIGHUP)
        else:
            self._reload_when_ready = True

    async def stop(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL if it has not ended within so many seconds."""
        self._stopping = True
        process = self._process
        if process and process.returncode is None:
            self._signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), max(seconds, 0.1))
            except TimeoutError:
                _log.warning("%s has not ended within %.0f s and is killed", self.slot, seconds)
                self._signal(signal.SIGKILL)
                await process.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._ended()
        self._pid_file.unlink(missing_ok=True)

    def _signal(self, number: int) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep(self) -> None:
        pause, longest = _PAUSE
        while True:
            began = time.monotonic()
            try:
                why = f"status {await self._run()}"
            except OSError as error:
                why = str(error)
            self._ended()
            if self._stopping:
                return
            _log.error("%s ended unasked (%s) and is started again", self.slot, why)
            self._setting.crashed(self.role)
            if time.monotonic() - began > _STEADY:
                pause = _PAUSE[0]
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _run(self) -> int:
        """Start the process and wait until it ends."""
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        try:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._setting.command(self.role, self.number),
                    env=self._setting.environment(self.role, self.slot, writing),
                    pass_fds=(writing, *self._setting.sockets.get(self.role, {}).values()),
                    stdin=asyncio.subprocess.DEVNULL,
                    # A terminal's interrupt is for the supervisor, which ends the others in order.
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            leftover.write(self._pid_file, self._process.pid)
            loop.add_reader(reading, self._heard, reading)
            return await self._process.wait()
        finally:
            loop.remove_reader(reading)
            os.close(reading)

    def _heard(self, reading: int) -> None:
        """The child has written its byte, or has closed the pipe without one."""
        asyncio.get_running_loop().remove_reader(reading)
        if os.read(reading, 1):
            self.ready.set()
            if self._reload_when_ready:
                self.reload()
            self._setting.changed()

    def _ended(self) -> None:
        self._reload_when_ready = False
        self.ready.clear()
        metrics.forget(self._setting.run / "metrics", self.slot)
        self._setting.changed()


def stop_leftovers(run: Path, config_path: Path) -> bool:
    """Stop the children that a crashed run left behind, side by side; True if there were any. Blocks some seconds."""

    def stop(file: Path) -> bool:
        role, _, number = file.stem.rpartition("-")
        found = number.isdigit() and leftover.stop(file, " ".join(_arguments(config_path, role, int(number))))
        if found:
            _log.warning("stopped %s of a run that crashed", file.stem)
        return found

    with ThreadPoolExecutor() as threads:
        return any(list(threads.map(stop, run.glob("*-*.pid"))))


def _arguments(config_path: Path, role: str, number: int) -> list[str]:
    """What follows the program on a child's command line; a later run knows the process by it."""
    return ["serve", "--config", str(config_path), "--role", role, "--slot", str(number)]
