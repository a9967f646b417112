"""`outbound-guard demo` as its users see it: all pages, an attack contained, a case, and an end without remains."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.product import GUARD, alive, until
from tests.webconsole import Visit

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

PAGES = {
    "/": "in quarantine",
    "/held": "as likely in spam|Congratulations|Cheap pills|Your mailbox is almost full|Earn ",
    "/accounts": "fern-studio.example",
    "/messages": "hosting.example|fern-studio.example|lumen-agency.example",
    "/queue": "mailbox is full|Nothing is queued",
    "/feedback": "complaint",
    "/suppression": "User unknown in virtual mailbox table",
    "/addresses": "127.51.100.10",
    "/addresses/pools": "doubtful",
    "/addresses/identity": "out10.hosting.example",
    "/cases": "",
    "/policy": "threshold",
    "/policy/weights": "campaign",
    "/audit": "held.delete",
    "/users": "demo",
    "/blocked": "",
}


class Demo:
    """A running demo, and the lines it prints."""

    def __init__(self, *words: str) -> None:
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [GUARD, "demo", "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def event(self, kind: str, text: str = "") -> dict[str, Any]:
        """The first event of a kind with a text in it, as soon as it is there."""

        def found() -> dict[str, Any] | None:
            assert self.process.poll() is None or self._reader.is_alive(), self.said()
            return next((e for e in self.events if e["event"] == kind and text in e.get("text", "")), None)

        return until(found, lambda: self.events[-5:], 200.0)

    def said(self) -> str:
        """What it wrote to standard error."""
        return self.process.stderr.read() if self.process.stderr is not None and self.process.poll() else ""

    def tree(self) -> set[int]:
        """Its process and all below it."""
        parents = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    stat = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
                except OSError:
                    continue
                parents[int(name)] = int(stat[1])
        found, new = set(), {self.process.pid}
        while new:
            found |= new
            new = {pid for pid, parent in parents.items() if parent in new} - found
        return found

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; the exit code."""
        self.process.send_signal(how)
        code = self.process.wait(60.0)
        self._reader.join(10.0)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    running = Demo("--speed", "3")
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGTERM)


@pytest.fixture(scope="module")
def visit(demo: Demo) -> Iterator[Visit]:
    ready = demo.event("ready")
    visit = Visit(ready["console"].removeprefix("http://"))
    try:
        answer = visit.post("/sign-in", name=ready["user"], password=ready["password"])
        assert "Sign out" in answer.text, answer.text[:2000]
        yield visit
    finally:
        visit.http.close()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_alive_and_has_something_to_show(visit: Visit, path: str) -> None:
    wanted = PAGES[path].split("|")
    answer = until(
        lambda: (page := visit.get(path)).status_code == 200 and any(w in page.text for w in wanted) and page, path
    )
    assert answer.headers["content-type"].startswith("text/html")


def test_the_days_before_are_in_the_chart(visit: Visit) -> None:
    traffic = visit.api("GET", "/now").json()["traffic"]
    with_mail = [column for column in traffic["columns"] if sum(column["messages"].values())]
    assert len(with_mail) >= 20
    assert sum(traffic["day_before"].values()) > 300
    assert traffic["day"]["quarantine"] > 20


def test_attacks_are_contained_and_honest_mail_is_not_touched(demo: Demo, visit: Visit) -> None:
    contained = demo.event("contained", "stolen mailbox")
    assert int(contained["text"].split("contained after ")[1].split()[0]) <= 5
    demo.event("suspended")
    demo.event("attack", "hacked PHP script: over")
    told = demo.event("traffic")
    until(lambda: [e for e in demo.events if e["event"] == "traffic" and e["honest"].get("let through", 0) > 20])
    told = [e for e in demo.events if e["event"] == "traffic"][-1]
    assert not told["honest"].get("refused"), told
    assert told["spam"]["let through"] < told["spam"]["held"], told


def test_an_address_is_listed_and_a_case_opens(demo: Demo, visit: Visit) -> None:
    demo.event("listed")
    address = demo.event("address")["text"].split()[0]
    case = demo.event("case")["case"]
    assert address in visit.get("/addresses").text
    assert "traps.lists.example" in visit.get(f"/cases/{case}").text


def test_the_owner_of_the_stolen_mailbox_is_resumed(demo: Demo, visit: Visit) -> None:
    victim = demo.event("attack", "stolen mailbox")["text"].split()[2]
    until(lambda: "demo:desk" in visit.get("/audit").text, "the abuse desk has resumed somebody", 200.0)
    assert "has another password now" in visit.get("/accounts/sender", sender=victim).text


def test_it_speaks_with_nobody_but_this_machine(demo: Demo, visit: Visit) -> None:
    inodes = set()
    for pid in demo.tree():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(fd))
            except OSError:
                continue
    seen = 0
    for kind in ("tcp", "udp"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" not in inodes:
                continue
            for end in fields[1:3]:
                address = ipaddress.ip_address(int(end.split(":")[0], 16).to_bytes(4, "little"))
                assert address.is_loopback or address.is_unspecified, line
            assert not fields[1].startswith("00000000:") or kind == "udp", line
            seen += 1
    assert seen > 5


def test_it_ends_and_leaves_nothing(demo: Demo, visit: Visit) -> None:
    folder = Path(demo.event("making")["folder"])
    assert folder.is_dir()
    tree = demo.tree()
    assert len(tree) > 4
    assert demo.end() == 0
    until(lambda: not any(map(alive, tree)), "all processes have ended")
    assert not folder.exists()
    assert demo.events[-1]["event"] == "end"


def test_a_folder_that_is_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    done = subprocess.run([GUARD, "demo", "--data", tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "mine").read_text() == "precious"


def test_an_address_of_the_world_is_refused() -> None:
    done = subprocess.run([GUARD, "demo", "--console", "0.0.0.0:0"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "loopback alone" in done.stderr


def test_it_can_be_broken_off_while_it_starts() -> None:
    demo = Demo()
    folder = Path(demo.event("making")["folder"])
    tree = demo.tree()
    assert demo.end(signal.SIGINT) == 0
    until(lambda: not any(map(alive, tree)), "all processes have ended")
    assert not folder.exists()
