"""What the running product tells systemd, heard at a real socket; and the units, as systemd itself sees them."""

from __future__ import annotations

import queue
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.supervisor.systemd import Systemd
from tests.product import Product

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy/systemd"
NEEDS_SYSTEMD = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
MOST_EXPOSED = 2.0
"""Of 10; what systemd-analyze calls OK ends at 4."""


class Listener:
    """The socket that systemd would listen on, in a folder of its own: a socket's path must be short."""

    def __init__(self, folder: str) -> None:
        self.path = f"{folder}/notify"
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        # The kernel keeps ten datagrams for who does not read them at once, as systemd does.
        self._said: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while text := self._socket.recv(4096).decode():
            self._said.put(text)

    def next(self) -> dict[str, str]:
        """The next datagram as its assignments."""
        self.heard.append(dict(line.split("=", 1) for line in self._said.get(timeout=60).split("\n")))
        return self.heard[-1]

    def until(self, **wanted: str) -> dict[str, str]:
        """The next datagram in which all of this stands; of a value, its beginning."""
        while True:
            said = self.next()
            if all(said.get(name, "").startswith(value) and name in said for name, value in wanted.items()):
                return said

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.path)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with tempfile.TemporaryDirectory(prefix="og") as folder:
        listening = Listener(folder)
        yield listening
        listening.close()


@pytest.mark.long
def test_the_product_tells_systemd_what_it_does(tmp_path: Path, listener: Listener) -> None:
    product = Product.made(tmp_path, smarthosts=["127.0.0.1:9"], relays=1)
    product.environment = {"NOTIFY_SOCKET": listener.path, "WATCHDOG_USEC": "300000"}
    with product:
        ready = listener.until(READY="1")
        assert ready["STATUS"] == f"listening on {product.address}"
        listener.until(WATCHDOG="1")
        # Nobody else of the tree speaks to systemd.
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in product.tree()]
        assert len(environments) > 3
        assert not any(b"NOTIFY_SOCKET" in one or b"WATCHDOG" in one for one in environments)

        product.guard("reload")
        assert int(listener.until(RELOADING="1")["MONOTONIC_USEC"]) > 0
        listener.until(READY="1")

        # A relay that cannot start any more: its file has become wrong. No sign of life until one serves again.
        right = product.config.read_text()
        product.config.write_text("wrong")
        product.kill("relay-0")
        listener.until(STATUS="no relay process is ready")
        ailing = len(listener.heard)
        product.config.write_text(right)
        listener.until(STATUS="listening on")
        assert [said for said in listener.heard[ailing:-2] if "WATCHDOG" in said] == []
        assert listener.heard[-2] == {"WATCHDOG": "1"}

        with product.client() as client:
            assert client.submit("a@x.test", ["b@y.test"], b"Subject: waits\r\n\r\nx\r\n").startswith("250 ")
        product.guard("drain")
        listener.until(STATUS="draining: 1 queued")
    listener.until(STOPPING="1")


def test_without_systemd_nothing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    Systemd({}).tell("READY=1")
    environment = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "3000000"}
    away = Systemd(environment)
    away.tell("READY=1", status="there")
    away.well()
    assert away.pause == 1.0
    assert environment == {}


@pytest.mark.parametrize(
    "environment",
    [
        {"WATCHDOG_USEC": "3000000"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/run/x"},
    ],
)
def test_signs_of_life_are_given_only_if_they_are_wanted_of_us(environment: dict[str, str]) -> None:
    assert Systemd(environment).pause == 0.0


def test_an_abstract_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{tmp_path}")
        listening.settimeout(60)
        Systemd({"NOTIFY_SOCKET": f"@{tmp_path}"}).tell("READY=1", status="there")
        assert listening.recv(100) == b"READY=1\nSTATUS=there"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    text = (UNITS / "outbound-guard.service").read_text()
    # Neither the program nor its user is installed where tests run.
    text = text.replace("/opt/outbound-guard/.venv/bin/outbound-guard", "/bin/true")
    text = re.sub(r"^(User|Group)=.*\n", "", text, flags=re.M)
    file = tmp_path / "outbound-guard.service"
    file.write_text(text)
    return file


@NEEDS_SYSTEMD
def test_the_unit_is_accepted(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@NEEDS_SYSTEMD
def test_the_unit_takes_away_what_is_not_needed() -> None:
    unit = UNITS / "outbound-guard.service"
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True)
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is not installed")
def test_its_user_and_its_folders_are_made(tmp_path: Path) -> None:
    for folder in ("etc", "var/lib"):
        (tmp_path / folder).mkdir(parents=True)
    for program, what in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        words = [program, f"--root={tmp_path}", *(["--create"] if what == "tmpfiles" else [])]
        done = subprocess.run([*words, UNITS / f"outbound-guard.{what}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert re.search(
        r"^outbound-guard:x:\d+:\d+:Outbound Guard:/var/lib/outbound-guard:/usr/sbin/nologin$",
        (tmp_path / "etc/passwd").read_text(),
        re.M,
    )
    modes = {
        name: (tmp_path / name).stat().st_mode & 0o777
        for name in ("etc/outbound-guard", "etc/outbound-guard/policy", "var/lib/outbound-guard")
    }
    assert list(modes.values()) == [0o750, 0o750, 0o700]
