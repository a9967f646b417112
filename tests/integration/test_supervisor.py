"""The first process, with children that only answer: started, killed, reloaded, rolled and stopped for real."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from outbound_guard.config import host_port
from outbound_guard.state import leftover

CHILD = Path(__file__).with_name("supervised_child.py")
ROOT = Path(__file__).parent.parent.parent
CONFIG = """
[server]
data_dir = "data"
relay_processes = 2
[[listener]]
address = "127.0.0.1:0"
[[listener]]
address = "[::1]:0"
[delivery]
mode = "sink"
[policy]
file = "policy.toml"
[metrics]
address = "127.0.0.1:0"
[console]
address = "127.0.0.1:0"
"""


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.01)


class Service:
    """One run of the supervisor over a folder."""

    def __init__(self, folder: Path, *roles: str) -> None:
        self.data = folder / "data"
        self.errors = (folder / "errors").open("a+")
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), "run", str(folder / "guard.toml"), *roles],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def ready(self) -> Service:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("ready: "), self.said()
        self.line = line
        addresses = json.loads((self.data / "run" / "addresses.json").read_text())
        self.listeners, self.metrics = addresses["listeners"], addresses["metrics"]
        return self

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()

    def ask(self, listener: int = 0) -> tuple[str, int]:
        with socket.create_connection(host_port(self.listeners[listener]), timeout=60) as asking:
            slot, pid = asking.makefile().readline().split()
        return slot, int(pid)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.metrics}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def figure(self, name: str, **labels: str) -> float:
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == f"outbound_guard_{name}" and sample.labels == labels:
                    return sample.value
        return 0.0

    def pids(self) -> dict[str, int]:
        found = {}
        for file in (self.data / "run").glob("*.pid"):
            # One that ends just now takes its file away.
            with contextlib.suppress(FileNotFoundError):
                found[file.stem] = int(file.read_text())
        return found

    def diary(self) -> list[str]:
        return (self.data / "diary").read_text().split("\n")[:-1]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.process.stdout:
            self.process.stdout.close()
        self.errors.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="og") as name:
        (Path(name) / "guard.toml").write_text(CONFIG)
        (Path(name) / "policy.toml").write_text("")
        yield Path(name)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def begin(*roles: str) -> Service:
        services.append(Service(folder, *roles))
        return services[-1]

    yield begin
    for service in services:
        service.close()


def gone(pid: int) -> bool:
    return leftover.command_line(pid) == ""


def test_it_serves_and_says_so(start: Callable[..., Service]) -> None:
    service = start().ready()
    assert service.line == f"ready: listening on {', '.join(service.listeners)}\n"
    assert service.listeners[1].startswith("[::1]:")
    assert service.ask(0)[0] in ("relay-0", "relay-1")
    assert service.ask(1)[0] in ("relay-0", "relay-1")
    assert service.get("/healthz") == (200, "ok\n")
    assert service.get("/readyz") == (200, "ready\n")
    assert service.get("/nothing")[0] == 404
    assert service.data.stat().st_mode & 0o777 == 0o700
    assert service.figure("deliveries_total", result="accepted") == 2
    assert service.figure("sessions") == 4
    until(lambda: service.figure("processes", role="relay") == 2)
    assert service.figure("state_up") == 1


def test_sigterm_stops_everything_in_order(start: Callable[..., Service]) -> None:
    service = start().ready()
    pids = service.pids()
    assert set(pids) == {"relay-0", "relay-1", "delivery-0", "console-0", "state"}
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    assert all(map(gone, pids.values()))
    assert not service.pids()
    stopped = [line.split("-")[0] for line in service.diary() if line.endswith("stopped")]
    assert stopped == ["relay", "relay", "delivery", "console"]


def test_a_child_that_does_not_stop_is_killed(start: Callable[..., Service], folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "relay-1.deaf").touch()
    service = start().ready()
    pid = service.pids()["relay-1"]
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(60) == 0
    assert gone(pid)
    assert "relay-1 has not ended" in service.said()
    assert "console-0 stopped" in service.diary()


def test_sigterm_before_it_is_ready(start: Callable[..., Service]) -> None:
    service = start()
    until(lambda: (service.data / "run" / "state.pid").exists() or service.process.poll() is not None)
    assert service.process.poll() is None, service.said()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    assert not service.pids()
    assert not (service.data / "run" / "addresses.json").exists()


def test_a_child_that_crashes_is_started_again(start: Callable[..., Service]) -> None:
    service = start().ready()
    counted = sum(service.ask()[0].startswith("relay") for _ in range(10))
    old = service.pids()["relay-0"]
    os.kill(old, signal.SIGKILL)
    until(lambda: service.figure("restarts_total", role="relay") == 1)
    until(lambda: service.get("/readyz")[0] == 200 and service.pids()["relay-0"] != old)
    # What the dead process had counted still counts, but its sessions do not.
    assert service.figure("deliveries_total", result="accepted") == counted
    assert service.figure("sessions") == 4
    slots: set[str] = set()
    until(lambda: slots.add(service.ask()[0]) or slots == {"relay-0", "relay-1"})
    assert "relay-0 ended unasked (status -9)" in service.said()


def test_readiness_names_what_is_missing(start: Callable[..., Service]) -> None:
    service = start().ready()
    state = service.pids()["state"]
    os.kill(state, signal.SIGSTOP)
    try:
        until(lambda: service.get("/readyz") == (503, "waiting for state\n"))
        # A load balancer leaves us in: mail goes on without it.
        assert service.get("/readyz/mail") == (200, "taking mail\n")
        assert service.ask()[0].startswith("relay")
        until(lambda: service.figure("state_up") == 0)
    finally:
        os.kill(state, signal.SIGCONT)
    until(lambda: service.get("/readyz") == (200, "ready\n"))
    os.kill(state, signal.SIGKILL)
    until(lambda: service.figure("restarts_total", role="state") == 1)
    until(lambda: service.get("/readyz") == (200, "ready\n"))
    assert service.pids()["state"] != state


def test_sigkill_leaves_nothing_and_it_starts_again(start: Callable[..., Service], folder: Path) -> None:
    # One child is deaf to SIGTERM: it outlives the supervisor, and the next start has to see to it.
    (folder / "data").mkdir()
    (folder / "data" / "relay-1.deaf").touch()
    service = start().ready()
    pids = service.pids()
    service.process.kill()
    service.process.wait()
    until(lambda: all(gone(pid) for slot, pid in pids.items() if slot != "relay-1"))
    assert not gone(pids["relay-1"])
    # The same ports, which the deaf child still listens on.
    text = CONFIG
    for named, bound in zip(("127.0.0.1:0", "[::1]:0"), service.listeners, strict=True):
        text = text.replace(named, bound, 1)
    (folder / "guard.toml").write_text(text)
    (folder / "data" / "relay-1.deaf").unlink()
    again = start().ready()
    assert again.listeners == service.listeners
    assert gone(pids["relay-1"])
    assert again.ask()[0].startswith("relay")
    assert "stopped relay-1 of a run that crashed" in again.said()


def test_only_one_at_a_time(start: Callable[..., Service]) -> None:
    service = start().ready()
    second = start()
    assert second.process.wait(60) == 1
    assert f"is in use by process {service.process.pid}\n" in second.said()
    assert service.get("/readyz")[0] == 200


def test_a_port_that_is_taken(start: Callable[..., Service], folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        (folder / "guard.toml").write_text(CONFIG.replace("127.0.0.1:0", where, 1))
        service = start()
        assert service.process.wait(60) == 1
    assert service.said() == f"outbound-guard: listener.address: {where}: Address already in use\n"
    assert not service.pids()


def test_a_reload_reaches_the_children_and_a_broken_policy_does_not(
    start: Callable[..., Service], folder: Path
) -> None:
    service = start().ready()
    (folder / "policy.toml").write_text("[threshold]\nhold = 'high'\n")
    service.process.send_signal(signal.SIGHUP)
    until(lambda: service.figure("config_reloads_total", result="refused") == 1)
    assert "not reloaded" in service.said()
    assert "threshold.hold" in service.said()
    (folder / "policy.toml").write_text("[threshold]\nhold = 5.0\n")
    service.process.send_signal(signal.SIGHUP)
    slots = ("relay-0", "relay-1", "delivery-0", "console-0")
    until(lambda: {f"{slot} reload" for slot in slots} <= set(service.diary()))
    # Only the second one reached them.
    assert collections.Counter(service.diary())["relay-0 reload"] == 1
    until(lambda: service.figure("config_reloads_total", result="ok") == 1)
    assert service.get("/readyz")[0] == 200


def test_a_rolling_restart_replaces_the_relays_and_loses_no_connection(start: Callable[..., Service]) -> None:
    service = start().ready()
    before = {slot: pid for slot, pid in service.pids().items() if slot.startswith("relay")}
    service.process.send_signal(signal.SIGUSR1)
    answered = 0

    def rolled() -> bool:
        nonlocal answered
        assert service.ask()[0].startswith("relay")
        answered += 1
        return "rolling restart done" in service.said()

    until(rolled)
    after = {slot: pid for slot, pid in service.pids().items() if slot.startswith("relay")}
    assert len(after) == 2
    assert not set(after.values()) & set(before.values())
    assert service.get("/readyz") == (200, "ready\n")
    assert service.figure("deliveries_total", result="accepted") == answered
    assert service.figure("restarts_total", role="relay") == 0


def test_a_rolling_restart_replaces_delivery_and_console_too(start: Callable[..., Service]) -> None:
    service = start().ready()
    before = service.pids()
    service.process.send_signal(signal.SIGUSR1)
    until(lambda: "rolling restart done" in service.said())
    after = service.pids()
    assert after["delivery-0"] != before["delivery-0"]
    assert after["console-0"] != before["console-0"]
    assert after["state"] == before["state"]
    # The console process first: what the others write from then on must be known to it.
    begun = [line.split()[0] for line in service.diary() if line.endswith("ready")][4:]
    assert [slot.split("-")[0] for slot in begun] == ["console", "relay", "relay", "delivery"]
    assert service.get("/readyz") == (200, "ready\n")
    assert service.figure("restarts_total", role="delivery") == 0


def test_a_rolling_restart_with_a_broken_configuration_changes_nothing(
    start: Callable[..., Service], folder: Path
) -> None:
    service = start().ready()
    before = service.pids()
    (folder / "policy.toml").write_text("[threshold]\nhold = 'high'\n")
    service.process.send_signal(signal.SIGUSR1)
    until(lambda: "not restarted, everything stays as it was" in service.said())
    assert service.pids() == before
    assert service.get("/readyz")[0] == 200


def test_a_drain_takes_nothing_new_and_ends_when_nothing_is_queued(start: Callable[..., Service], folder: Path) -> None:
    service = start().ready()
    queue = folder / "data" / "spool" / "queue"
    queue.mkdir(exist_ok=True)
    (queue / "abc").write_bytes(b"")
    service.process.send_signal(signal.SIGUSR2)
    until(lambda: service.get("/readyz") == (503, "draining\n"))
    assert service.get("/readyz/mail") == (503, "draining\n")
    until(lambda: not any(slot.startswith("relay") for slot in service.pids()))
    with pytest.raises(ConnectionRefusedError):
        service.ask()
    until(lambda: service.figure("draining") == 1)
    assert "delivery-0" in service.pids()
    (queue / "abc").unlink()
    assert service.process.wait(60) == 0
    assert "drained: nothing is queued" in service.said()


def test_what_is_asked_for_at_a_bad_moment_is_done_when_it_is_over(start: Callable[..., Service], folder: Path) -> None:
    lock = folder / "data" / "lock"
    service = start()
    until(lambda: lock.exists() and lock.read_text().endswith("\n"))
    # It starts: nothing of this may end it, and the restart comes when everything is there.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
        service.process.send_signal(number)
    service.ready()
    until(lambda: "rolling restart done" in service.said())
    before = service.pids()
    service.process.send_signal(signal.SIGUSR1)
    until(lambda: service.pids().keys() > before.keys())
    # In the middle of a restart: the drain comes after it, and what comes after that has been overtaken. Of two signals
    # that wait the one of the lower number is heard first, so the second is sent when the first has been.
    waits = "this waits until what is under way is done"
    heard = service.said().count(waits)
    service.process.send_signal(signal.SIGUSR2)
    until(lambda: service.said().count(waits) > heard)
    service.process.send_signal(signal.SIGUSR1)
    assert service.process.wait(60) == 0
    assert service.said().count("rolling restart done") == 2
    assert "nothing else is begun" in service.said()
    assert "drained: nothing is queued" in service.said()


def test_one_role_alone(start: Callable[..., Service]) -> None:
    service = start("delivery").ready()
    assert service.line == "ready: running\n"
    assert service.listeners == []
    assert set(service.pids()) == {"delivery-0", "state"}
