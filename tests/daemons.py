"""Real filters from Debian's packages (rspamd, spamd, clamd), each in a folder of its own, on a port of this machine.

They have private configurations, ask nobody on the network, and are killed with all their processes at the end.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.product import message, until

PROGRAMS = {"rspamd": "rspamd", "spamassassin": "spamd", "clamav": "clamd"}
PACKAGES = {"rspamd": "rspamd", "spamassassin": "spamd", "clamav": "clamav-daemon"}
VIRUS = b"This harmless text stands for a program that does harm."
"""What our own signature matches."""
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
INFECTED = message(
    "invoice",
    "--edge\r\nContent-Type: text/plain\r\n\r\nSee the invoice.\r\n--edge\r\nContent-Type: application/octet-stream\r\n"
    f"Content-Transfer-Encoding: base64\r\n\r\n{base64.b64encode(VIRUS).decode()}\r\n--edge--",
    MIME_Version="1.0",
    Content_Type="multipart/mixed; boundary=edge",
)
"""What every spam filter calls spam, by agreement."""

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

_RSPAMD = """
options {{ filters = ""; url_tld = "{folder}/tld"; pidfile = "{folder}/pid";
    tempdir = "{folder}"; hs_cache_dir = "{folder}"; cores_dir = "{folder}";
    dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; }} }}
logging {{ type = "file"; filename = "{folder}/log"; }}
metric "default" {{ actions {{ reject = 15; add_header = 6; }} }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
"""
_CLAMD = """
Foreground yes
TCPAddr 127.0.0.1
TCPSocket {port}
LocalSocket {folder}/socket
DatabaseDirectory {folder}/db
LogFile {folder}/log
MaxThreads 2
"""


def missing(kind: str) -> bool:
    """True if this filter is not installed."""
    return not shutil.which(PROGRAMS[kind], path=_PATH)


def needs(kind: str) -> pytest.MarkDecorator:
    """Skips a test, saying why, where this filter is not installed."""
    return pytest.mark.skipif(
        missing(kind), reason=f"{PROGRAMS[kind]} is not installed (Debian package {PACKAGES[kind]})"
    )


class Daemon:
    """One filter; `address` is HOST:PORT. It listens there again after `start`."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        folder.mkdir(parents=True, exist_ok=True)
        # Others may enter: as root, spamd gives up its rights.
        folder.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = int(server.getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = {"rspamd": self._rspamd, "spamassassin": self._spamd, "clamav": self._clamd}[self.kind]()
        with (self.folder / "said").open("ab") as said:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=self.folder,
                env={**os.environ, "PATH": _PATH, "HOME": str(self.folder)},
                start_new_session=True,
            )
        until(lambda: not self.alive or self._answers(), lambda: f"{self.kind} answers: {self.said()}", 90)
        assert self.alive, self.said()

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """In the block its processes stand still: connections are accepted, and nothing is ever said."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def said(self) -> str:
        """The end of what it has written."""
        files = [self.folder / name for name in ("said", "log")]
        return "\n".join(file.read_text(errors="replace")[-1500:] for file in files if file.exists())

    def _answers(self) -> bool:
        question, word = {
            "rspamd": (b"GET /ping HTTP/1.0\r\n\r\n", b"200"),
            "spamassassin": (b"PING SPAMC/1.5\r\n\r\n", b"PONG"),
            "clamav": (b"zPING\0", b"PONG"),
        }[self.kind]
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(question)
                return word in connection.recv(1000)
        except OSError:
            return False

    def _rspamd(self) -> list[str]:
        # The real list of top-level domains takes it twenty seconds to compile.
        (self.folder / "tld").write_text("com\nnet\norg\ntest\n")
        (self.folder / "rspamd.conf").write_text(_RSPAMD.format(folder=self.folder, port=self.port))
        insecure = ["-i"] if os.getuid() == 0 else []  # It does not run as root unasked.
        return ["rspamd", "-f", *insecure, "-c", str(self.folder / "rspamd.conf")]

    def _spamd(self) -> list[str]:
        options = ["--local", "--nouser-config", "--max-children=1", "--syslog=stderr", f"--pidfile={self.folder}/pid"]
        return ["spamd", *options, "-i", "127.0.0.1", "-p", str(self.port), "-A", "127.0.0.1", "-H", str(self.folder)]

    def _clamd(self) -> list[str]:
        (self.folder / "db").mkdir(exist_ok=True)
        hashed = hashlib.md5(VIRUS, usedforsecurity=False).hexdigest()
        (self.folder / "db" / "own.hdb").write_text(f"{hashed}:{len(VIRUS)}:Guard.Test.Harmless\n")
        user = "User root\n" if os.getuid() == 0 else ""
        (self.folder / "clamd.conf").write_text(_CLAMD.format(folder=self.folder, port=self.port) + user)
        return ["clamd", "--config-file", str(self.folder / "clamd.conf")]


@contextlib.contextmanager
def daemons(folder: Path) -> Iterator[Callable[[str], Daemon]]:
    """Gives running filters by kind, each started when it is first asked for, or asked for after it was killed."""
    made: dict[str, Daemon] = {}

    def running(kind: str) -> Daemon:
        daemon = made.setdefault(kind, Daemon(kind, folder / kind))
        if not daemon.alive:
            daemon.start()
        return daemon

    try:
        yield running
    finally:
        for daemon in made.values():
            daemon.kill()
