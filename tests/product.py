"""The whole product as a process tree: started as an operator starts it, looked at from outside, stopped or killed.

    with Hops() as hops:
        hop = hops.start()                                     # a recording next hop (tests/nexthop.py)
        with Product.made(tmp_path, smarthosts=[hop.address]) as product:
            with product.client() as client:
                assert client.submit("a@x.test", ["b@y.test"], CONTENT).startswith("250 ")

Ports are the system's; `product.address` and the rest are read when it says that it is ready. Tests are ordinary
functions: the next hops live in a thread of their own (Hops).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from outbound_guard.config import host_port, load
from tests.nexthop import NextHop

GUARD = Path(sys.executable).with_name("outbound-guard")
START_SECONDS, STOP_SECONDS = 60.0, 25.0
_T = TypeVar("_T")

CONFIGURATION = """
[server]
hostname = "guard.test"
relay_processes = {relays}
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.0/8"]
[delivery]
retry = [1, 1, 2]
[[delivery.pool]]
smarthosts = {smarthosts}
tls = "none"
reply_seconds = {reply_seconds}
[policy]
mode = "{mode}"
file = "policy.toml"
[spool]
free_bytes = 1000000
[console]
address = "127.0.0.1:0"
[metrics]
address = "127.0.0.1:0"
"""
LENIENT = """
[threshold]
watch = 1000.0
hold = 2000.0
quarantine = 3000.0
suspend = 4000.0
"""
"""A policy that lets pass whatever a test sends, however the signals are tuned."""


def until(condition: Callable[[], _T], what: object = "", seconds: float = 30.0) -> _T:
    """What `condition` returns as soon as that is true; what happens beside an answer is waited for in this way."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"has not happened within {seconds:.0f} s: {what() if callable(what) else what}"
        time.sleep(0.05)
    return found


class Product:
    """`outbound-guard serve` with one configuration; it may be started again after it was stopped or killed."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.data = load(config).data_dir
        self.addresses: dict[str, Any] = {}
        self.started = 0.0
        """Unix seconds of the last start."""
        self.environment: dict[str, str] = {}
        """Variables it is started with, besides ours."""
        self._process: subprocess.Popen[bytes] | None = None
        self._out, self._err = config.with_suffix(".out"), config.with_suffix(".err")

    @classmethod
    def made(
        cls,
        folder: Path,
        *,
        smarthosts: Sequence[str],
        policy: str = LENIENT,
        mode: str = "enforce",
        relays: int = 2,
        reply_seconds: int = 60,
        more: str = "",
    ) -> Product:
        """With a small configuration in `folder`; `policy` is its policy file's text, `more` is put behind."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policy.toml").write_text(policy)
        config = folder / "guard.toml"
        config.write_text(
            CONFIGURATION.format(
                smarthosts=json.dumps(list(smarthosts)), mode=mode, relays=relays, reply_seconds=reply_seconds
            )
            + more
        )
        return cls(config)

    # -- Starting and ending -----------------------------------------------------------------------------------------

    def __enter__(self) -> Product:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is None:
            return
        if kind is None:
            assert self.stop() == 0, self.said()
        else:
            self.kill_everything()
            sys.stderr.write(self.said()[-5000:])

    def start(self) -> None:
        """Start it and return when it takes mail."""
        ready = self.data / "run" / "addresses.json"
        ready.unlink(missing_ok=True)
        self.started = time.time()
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                [GUARD, "serve", "--config", self.config],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **self.environment},
            )
        end = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill_everything()
                raise AssertionError(f"serve is not ready:\n{self.said()}")
            time.sleep(0.02)
        self.addresses = json.loads(ready.read_text())

    def stop(self) -> int:
        """SIGTERM; the exit code. It must come within 25 s, and nothing may be left of the tree."""
        process, before = self._running(), self.tree()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise AssertionError(f"serve did not end within {STOP_SECONDS:.0f} s:\n{self.said()}") from None
        self._process = None
        left = [pid for pid in before if alive(pid)]
        assert not left, f"left behind: {[command_line(pid) for pid in left]}"
        return code

    def wait(self) -> int:
        """The exit code of one that ends by itself."""
        code = self._running().wait(STOP_SECONDS)
        self._process = None
        return code

    def kill_everything(self) -> None:
        """SIGKILL to every process of it, the first one first, and return when all are gone."""
        process, tree = self._running(), self.tree()
        process.kill()
        for pid in tree:
            kill(pid)
        process.wait()
        self._process = None
        until(lambda: not any(alive(pid) for pid in tree), "the killed processes have gone")

    def kill_supervisor(self) -> None:
        """SIGKILL to the first process alone; its children see to their own end."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        """A signal to the first process."""
        self._running().send_signal(number)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it is not running"
        return self._process

    # -- Its processes -----------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._running().pid

    def tree(self) -> set[int]:
        """The process ids of everything below the one that was started."""
        parents = {}
        for name in os.listdir("/proc"):
            if name.isdigit() and (stat := _stat(int(name))):
                parents[int(name)] = int(stat[1])
        found, new = set(), {self.pid}
        while new:
            new = {pid for pid, parent in parents.items() if parent in new}
            found |= new
        return found

    def processes(self) -> dict[str, int]:
        """Process ids by slot: relay-0, ..., delivery-0, console-0, state."""
        found = {}
        for file in (self.data / "run").glob("*.pid"):
            text = file.read_text() if file.exists() else ""
            if text.strip().isdigit() and alive(int(text)):
                found[file.stem] = int(text)
        return found

    def kill(self, slot: str, seconds: float = 30.0) -> int:
        """SIGKILL to one process, as soon as there is one in that slot; its id, which has gone when this returns."""
        pid = until(lambda: self.processes().get(slot), f"{slot} runs", seconds)
        kill(pid)
        until(lambda: not alive(pid), f"{slot} has gone")
        return pid

    # -- Talking to it -----------------------------------------------------------------------------------------------

    def listener(self, number: int = 0) -> tuple[str, int]:
        """Host and port of a listener, by its place in the configuration."""
        return host_port(self.addresses["listeners"][number])

    @property
    def address(self) -> str:
        """The first listener as HOST:PORT."""
        return str(self.addresses["listeners"][0])

    def client(self, number: int = 0, **options: Any) -> Client:
        """A client connected to a listener; see Client."""
        return Client(*self.listener(number), **options)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the metrics server."""
        try:
            with urllib.request.urlopen(f"http://{self.addresses['metrics']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of a metric (without its prefix) that have these labels."""
        total = 0.0
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == f"outbound_guard_{name}" and labels.items() <= sample.labels.items():
                    total += sample.value
        return total

    def guard(self, *words: str, code: int | None = 0) -> str:
        """Run a command of the product on its configuration and return what it prints; `code` is the one expected."""
        done = subprocess.run(
            [GUARD, *words, "--config", self.config], capture_output=True, text=True, timeout=60, check=False
        )
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if done.returncode == 0 else done.stderr

    def held(self) -> list[dict[str, Any]]:
        """`held list --json`."""
        found: list[dict[str, Any]] = json.loads(self.guard("held", "list", "--json"))
        return found

    def day(self, account: str) -> dict[str, int]:
        """Messages of an account in a day by action; none while the ledger does not know it yet."""
        said = self.guard("account", "show", account, "--json", code=None)
        return dict(json.loads(said)["day"]) if said.startswith("{") else {}

    def events(self, type_: str = "Reception") -> list[dict[str, Any]]:
        """The lines of the mail log of one type, since it was first started."""
        lines = self._out.read_text(errors="replace").split("\n")
        found = (json.loads(line) for line in lines if line.startswith("{") and line.endswith("}"))
        return [event for event in found if event["type"] == type_]

    def event(self, type_: str = "Reception", **fields: object) -> dict[str, Any]:
        """The line of the mail log with these fields, as soon as it is there."""
        return until(
            lambda: next((e for e in self.events(type_) if fields.items() <= e.items()), None), (type_, fields)
        )

    def said(self) -> str:
        """All it has written to standard error."""
        return self._err.read_text(errors="replace")


class Client(smtplib.SMTP):
    """smtplib, with the replies as they came: `submit` says the whole transaction and returns the one that decided."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] = ("", "")):
        super().__init__(host, port, local_hostname="client.test", timeout=60)
        if tls is not None:
            self.starttls(context=tls)
        if login[0]:
            self.login(*login)

    def say(self, command: str) -> str:
        """One command; its reply as `CODE TEXT`."""
        return _said(self.docmd(command))

    def submit(self, mail_from: str, recipients: Iterable[str], content: bytes, parameters: str = "") -> str:
        """One mail transaction: the first reply that refuses, else the reply to the end of the message."""
        self.ehlo_or_helo_if_needed()
        commands = [f"MAIL FROM:<{mail_from}>{parameters}", *(f"RCPT TO:<{to}>" for to in recipients)]
        for command in commands:
            answer = self.say(command)
            if not answer.startswith("2"):
                self.say("RSET")
                return answer
        try:
            return _said(self.data(content))
        except smtplib.SMTPDataError as error:
            return _said((error.smtp_code, error.smtp_error))


def _said(reply: tuple[int, bytes | str]) -> str:
    code, text = reply
    return f"{code} {text.decode() if isinstance(text, bytes) else text}"


class Hops:
    """A thread with an event loop, and the recording next hops that live in it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="next hops", daemon=True)
        self._started: list[NextHop] = []

    def __enter__(self) -> Hops:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for hop in self._started:
            self.call(hop.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if kind is None:
            assert not [found for hop in self._started for found in hop.errors]

    def call(self, work: Coroutine[Any, Any, _T], seconds: float | None = 60.0) -> _T:
        """Carry `work` out in that loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def start(self, hop: NextHop | None = None, **options: Any) -> NextHop:
        """A next hop that listens; `options` are those of NextHop."""
        hop = hop or NextHop(**options)
        self._started.append(hop)
        self.call(hop.start())
        return hop

    @contextlib.contextmanager
    def away(self, hop: NextHop) -> Iterator[None]:
        """In the block a next hop does not listen, and its sessions are broken off; then it is back where it was."""
        self.call(hop.stop())
        try:
            yield
        finally:
            self.call(hop.start())


def message(subject: str, body: str = "", **headers: str) -> bytes:
    """A plain message with CRLF line ends. Header names have `_` for `-`."""
    fields: Mapping[str, str] = {"From": "Anna <anna@a.test>", "To": "<someone@there.test>", "Subject": subject}
    fields = {**fields, **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{head}\r\n{body or subject}\r\n".encode()


def alive(pid: int) -> bool:
    """True if there is such a process, and not only its corpse."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in ("Z", "X")


def kill(pid: int) -> None:
    """SIGKILL, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def command_line(pid: int) -> str:
    """The words of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _stat(pid: int) -> list[str] | None:
    """What follows the name in /proc/PID/stat: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
