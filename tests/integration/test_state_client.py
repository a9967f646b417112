"""The way to the store, against real servers: Valkey as the product carries it, and Redis as Debian has it."""

from __future__ import annotations

import asyncio
import collections
import gc
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
import uvloop

from outbound_guard.config import ConfigError
from outbound_guard.state import State, StateDown, StateError
from outbound_guard.state.embedded import find_server
from outbound_guard.state.where import One, Place
from outbound_guard.state.wire import Wire

PATIENT = 30.0
"""Seconds; what is not about time must not fail for the want of it."""
ECHO = "return {KEYS[1], ARGV[1]}"
PUSH = "return redis.call('RPUSH', KEYS[1], ARGV[1])"


def _programs() -> dict[str, str]:
    path, os.environ["PATH"] = os.environ["PATH"], ""
    try:
        found = {"valkey": str(find_server())}
    except ConfigError:
        found = {}
    finally:
        os.environ["PATH"] = path
    if debian := shutil.which("redis-server"):
        found["redis"] = debian
    return found


PROGRAMS = _programs()


class Server:
    """A server process that can be stopped, killed, hung and started again."""

    def __init__(self, program: str, folder: Path, *options: str) -> None:
        self.socket = folder / "s"
        self.url = f"unix://{self.socket}"
        self.command = [program, "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(folder)]
        self.command += options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        for _ in range(1000):
            with socket.socket(socket.AF_UNIX) as asking:
                try:
                    asking.connect(str(self.socket))
                    asking.sendall(b"PING\r\n")
                    if asking.recv(100):
                        return
                except OSError:
                    pass
            assert self.process.poll() is None
            time.sleep(0.01)
        raise AssertionError("the server does not answer")

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(params=sorted(PROGRAMS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="og") as folder:
        running = Server(PROGRAMS[request.param], Path(folder))
        yield running
        running.close()


class Counts(collections.Counter[tuple[str, ...]]):
    def __call__(self, name: str, *labels: str, by: int = 1) -> None:
        self[(name, *labels)] += by


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it has not happened")


async def test_values_go_out_and_come_back_as_octets(server: Server) -> None:
    state = await State.connect(server.url, timeout=PATIENT, count=Counts())
    script = state.script("return {KEYS[1], ARGV[1], ARGV[2], ARGV[3], 7, false}")
    assert await state.call(script, [b"k\xff"], [b"\x00\r\n\xfe", "ä", 2.5]) == [
        *(b"k\xff", b"\x00\r\n\xfe", "ä".encode(), b"2.5", 7, None)
    ]
    assert await state.command("SET", "k", b"v") == b"OK"
    assert await state.command("GET", "k") == b"v"
    await state.close()


async def test_calls_of_one_turn_leave_in_one_write(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    state = await State.connect(server.url, timeout=PATIENT, count=Counts())
    echo = state.script(ECHO)
    await state.call(echo, ["k"], ["loaded"])
    writes: list[int] = []
    write = Wire.write
    monkeypatch.setattr(Wire, "write", lambda self, commands: (writes.append(len(commands)), write(self, commands))[1])
    replies = await asyncio.gather(*(state.call(echo, ["k"], [number]) for number in range(50)))
    assert replies == [[b"k", b"%d" % number] for number in range(50)]
    assert writes == [50]
    await state.close()


async def test_a_script_file_is_found_by_name(server: Server) -> None:
    state = await State.connect(server.url, timeout=PATIENT, count=Counts())
    assert "KEYS" in state.script("reputation/recall.lua").text
    assert state.script(ECHO) is state.script(ECHO)
    await state.close()


async def test_a_server_that_forgot_the_scripts_is_told_again(server: Server) -> None:
    counts = Counts()
    state = await State.connect(server.url, timeout=PATIENT, count=counts)
    echo, push = state.script(ECHO), state.script(PUSH)
    for _ in range(2):
        await state.command("SCRIPT", "FLUSH")
        assert await state.call(echo, ["k"], ["a"]) == [b"k", b"a"]
        for number in range(3):
            state.later(push, ["list"], [number])
        await state.flush()
    assert await state.command("LRANGE", "list", 0, -1) == [b"0", b"1", b"2"] * 2
    assert not counts
    await state.close()


async def test_a_mistake_in_a_script_is_not_an_outage(server: Server) -> None:
    counts = Counts()
    state = await State.connect(server.url, timeout=PATIENT, count=counts)
    with pytest.raises(StateError) as caught:
        await state.call(state.script("return redis.call('NONSENSE')"), ["k"], [])
    assert not isinstance(caught.value, StateDown)
    assert state.up
    assert counts == {("state_errors_total", "script"): 1}
    state.later(state.script("return redis.call('NONSENSE')"), ["k"], [])
    await state.flush()
    assert counts["state_dropped_total",] == 1
    await state.close()


async def test_a_full_server_is_an_outage(server: Server) -> None:
    counts = Counts()
    state = await State.connect(server.url, timeout=PATIENT, count=counts)
    await state.command("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(StateDown, match="maxmemory"):
        await state.command("SET", "k", "v")
    assert counts == {("state_errors_total", "refused"): 1}
    await state.close()


async def test_calls_while_the_server_is_killed_and_started_again(server: Server) -> None:
    counts = Counts()
    state = await State.connect(server.url, timeout=PATIENT, count=counts)
    echo = state.script(ECHO)
    results: collections.Counter[str] = collections.Counter()
    done = asyncio.Event()

    async def caller() -> None:
        while not done.is_set():
            try:
                assert await state.call(echo, ["k"], ["a"]) == [b"k", b"a"]
                results["answered"] += 1
            except StateDown:
                results["down"] += 1
                await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as callers:
        for _ in range(20):
            callers.create_task(caller())
        await until(lambda: results["answered"] > 100)
        server.signal(signal.SIGKILL)
        await until(lambda: results["down"] > 100)
        assert not state.up
        server.start()
        before = results["answered"]
        await until(lambda: results["answered"] > before + 100)
        done.set()
    assert state.up
    assert counts["state_errors_total", "lost"] == 1
    assert counts["state_errors_total", "down"] > 0
    await state.close()


async def test_a_hung_server_makes_nobody_wait_twice(server: Server) -> None:
    counts = Counts()
    state = await State.connect(server.url, timeout=1.0, count=counts)
    echo = state.script(ECHO)
    await state.call(echo, ["k"], ["a"])
    server.signal(signal.SIGSTOP)
    try:
        waiting = [asyncio.create_task(state.call(echo, ["k"], [number])) for number in range(10)]
        for result in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30):
            assert isinstance(result, StateDown)
        # From here on a call fails before anything is awaited.
        with pytest.raises(StateDown):
            state.start(echo, ["k"], ["b"])
        assert counts == {("state_errors_total", "timeout"): 1, ("state_errors_total", "down"): 1}
    finally:
        server.signal(signal.SIGCONT)
    await until(lambda: state.up)
    assert await state.call(echo, ["k"], ["c"]) == [b"k", b"c"]
    await state.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_busy_loop_is_not_taken_for_a_hung_server(server: Server, run: Callable[..., None]) -> None:
    async def talk() -> None:
        counts = Counts()
        state = await State.connect(server.url, timeout=0.5, count=counts)
        echo = state.script(ECHO)
        await state.call(echo, ["k"], ["loaded"])
        replies: list[asyncio.Future[object]] = []

        def be_busy() -> None:
            loop.remove_reader(reading)
            replies.append(state.start(echo, ["k"], ["a"]))
            state.push()
            # The answer comes while the loop is busy with another connection for longer than the timeout.
            time.sleep(1.0)

        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        loop.add_reader(reading, be_busy)
        os.write(writing, b"1")
        await until(lambda: bool(replies))
        assert await replies[0] == [b"k", b"a"]
        assert not counts
        os.close(reading)
        os.close(writing)
        await state.close()

    run(talk())


async def test_records_are_kept_while_the_store_is_down_and_the_oldest_go(server: Server) -> None:
    counts = Counts()
    state = await State.connect(server.url, timeout=PATIENT, count=counts, behind=100)
    push = state.script(PUSH)
    server.signal(signal.SIGKILL)
    await until(lambda: not state.up)
    for number in range(107):
        state.later(push, ["list"], [number])
    assert counts["state_dropped_total",] == 7
    with pytest.raises(StateDown):
        await state.flush()
    server.start()
    await until(lambda: state.up)
    await state.flush()
    assert await state.command("LRANGE", "list", 0, -1) == [b"%d" % number for number in range(7, 107)]
    await state.close()


async def test_a_long_backlog_arrives_whole_and_in_order(server: Server) -> None:
    counts = Counts()
    state = await State.connect(server.url, timeout=PATIENT, count=counts)
    push = state.script(PUSH)
    for number in range(4321):
        state.later(push, ["list"], [number])
        if number % 1000 == 0:
            await asyncio.sleep(0)
    await state.flush()
    assert await state.command("LRANGE", "list", 0, -1) == [b"%d" % number for number in range(4321)]
    assert not counts
    await state.close()


async def test_records_travel_without_anybody_calling(server: Server) -> None:
    state = await State.connect(server.url, timeout=PATIENT, count=Counts())
    other = await State.connect(server.url, timeout=PATIENT, count=Counts())
    state.later(state.script(PUSH), ["list"], ["a"])
    for _ in range(6000):
        if await other.command("LLEN", "list") == 1:
            break
        await asyncio.sleep(0.005)
    else:
        raise AssertionError("it has not arrived")
    await state.close()
    await other.close()


async def test_close_sends_what_was_written_behind(server: Server) -> None:
    state = await State.connect(server.url, timeout=PATIENT, count=Counts())
    state.later(state.script(PUSH), ["list"], ["a"])
    await state.close()
    other = await State.connect(server.url, timeout=PATIENT, count=Counts())
    assert await other.command("LLEN", "list") == 1
    await other.close()


async def test_a_caller_that_gives_up_does_not_shift_the_replies(server: Server) -> None:
    state = await State.connect(server.url, timeout=PATIENT, count=Counts())
    echo = state.script(ECHO)
    calls = [asyncio.create_task(state.call(echo, ["k"], [number])) for number in range(10)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert [reply for reply in replies if isinstance(reply, list)] == [[b"k", b"%d" % n] for n in range(1, 10, 2)]
    await state.close()


async def test_a_store_that_is_down_at_first_is_found_later(server: Server) -> None:
    server.signal(signal.SIGKILL)
    counts = Counts()
    state = await State.connect(server.url, timeout=PATIENT, count=counts)
    assert not state.up
    assert counts == {("state_errors_total", "connect"): 1}
    with pytest.raises(StateDown):
        await state.command("PING")
    server.start()
    await until(lambda: state.up)
    assert await state.command("PING") == b"PONG"
    await state.close()


async def test_something_that_is_not_redis(tmp_path: Path) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.net ESMTP\r\n")
        await writer.drain()
        writer.close()

    with tempfile.TemporaryDirectory(prefix="og") as folder:
        async with await asyncio.start_unix_server(greet, f"{folder}/s"):
            state = await State.connect(f"unix://{folder}/s", timeout=PATIENT, count=Counts())
            assert not state.up
            await state.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1", "redis://"),
        ("redis://127.0.0.1:x/0", "state.url"),
    ],
)
async def test_urls_that_cannot_be_used(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        await State.connect(url, timeout=PATIENT, count=Counts())


@pytest.mark.skipif("redis" not in PROGRAMS, reason="redis-server is not installed")
async def test_a_password_and_a_database() -> None:
    with tempfile.TemporaryDirectory(prefix="og") as folder:
        server = Server(PROGRAMS["redis"], Path(folder), "--requirepass", "secret")
        try:
            state = await State.connect(f"unix://:secret@{server.socket}?db=3", timeout=PATIENT, count=Counts())
            assert b"db=3" in await state.command("CLIENT", "INFO")
            await state.close()
            counts = Counts()
            state = await State.connect(f"unix://:wrong@{server.socket}", timeout=PATIENT, count=counts)
            assert not state.up
            await state.close()
        finally:
            server.close()


@pytest.mark.skipif("redis" not in PROGRAMS, reason="redis-server is not installed")
async def test_a_password_file_that_is_just_being_replaced() -> None:
    with tempfile.TemporaryDirectory(prefix="og") as folder:
        server = Server(PROGRAMS["redis"], Path(folder), "--requirepass", "secret")
        file = Path(folder) / "password"
        file.write_bytes(b"\xff\xfe half of it")
        try:
            state = await State.connect(f"{server.url}?password_file={file}", timeout=PATIENT, count=Counts())
            assert not state.up
            file.write_text("secret\n")
            await until(lambda: state.up)
            await state.close()
        finally:
            server.close()


async def test_what_nobody_expected_ends_no_search(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found, real, watched = [RuntimeError("unable to perform operation")] * 3, One.find, 0

    async def find(one: One) -> list[Place]:
        nonlocal watched
        watched += 1
        if found:
            raise found.pop()
        return await real(one)

    monkeypatch.setattr(One, "watch", 0.001)
    state = await State.connect(server.url, timeout=PATIENT, count=Counts())
    monkeypatch.setattr(One, "find", find)
    await until(lambda: watched > 3)
    assert state.up
    # And when it is lost.
    monkeypatch.setattr(One, "watch", 1000.0)
    found += [RuntimeError("unable to do another")] * 3
    server.signal(signal.SIGKILL)
    server.start()
    await until(lambda: not found and state.up)
    assert [record.exc_info is not None for record in caplog.records if "looked for" in record.message] == [True] * 2
    await state.close()


@pytest.mark.skipif("redis" not in PROGRAMS, reason="redis-server is not installed")
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_tls_on_both_loops(run: Callable[..., None]) -> None:
    with tempfile.TemporaryDirectory(prefix="og") as folder, socket.socket() as reserved:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(f"{folder}/ca.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(f"{folder}/server.pem")
        # The port stays ours until the server takes it: both sides set SO_REUSEADDR and this one never listens.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", f"{folder}/ca.pem"]
        options += ["--tls-cert-file", f"{folder}/server.pem", "--tls-key-file", f"{folder}/server.pem"]
        server = Server(PROGRAMS["redis"], Path(folder), "--bind", "127.0.0.1", *options)

        async def talk() -> None:
            state = await State.connect(
                f"rediss://127.0.0.1:{port}?ssl_ca_certs={folder}/ca.pem", timeout=5, count=Counts()
            )
            echo = state.script(ECHO)
            large = b"x" * 300_000
            assert await asyncio.gather(*(state.call(echo, ["k"], [large]) for _ in range(3))) == [[b"k", large]] * 3
            await state.close()

        try:
            run(talk())
        finally:
            server.close()


def test_everything_on_uvloop(server: Server) -> None:
    async def talk() -> None:
        counts = Counts()
        state = await State.connect(server.url, timeout=1.0, count=counts)
        echo = state.script(ECHO)
        assert len(await asyncio.gather(*(state.call(echo, ["k"], [number]) for number in range(100)))) == 100
        server.signal(signal.SIGSTOP)
        with pytest.raises(StateDown):
            await state.call(echo, ["k"], ["a"])
        server.signal(signal.SIGKILL)
        server.start()
        await until(lambda: state.up)
        state.later(state.script(PUSH), ["list"], ["a"])
        await state.flush()
        assert await state.command("LLEN", "list") == 1
        await state.close()

    uvloop.run(talk())


async def test_who_has_given_up_leaves_no_complaint_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    state = await State.connect(server.url, timeout=PATIENT, count=Counts())
    asked = state.start(state.script("return redis.error_reply('MISCONF no room for the log')"), ["k"], [])
    await until(asked.done)
    del asked
    gc.collect()
    await state.close()
    assert "never retrieved" not in caplog.text
