"""The tour of the README, done as it is written there: its own commands, its own configuration."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product import GUARD, Product, until

ROOT = Path(__file__).resolve().parents[2]
TOUR = (ROOT / "README.md").read_text().partition("## Five minutes with swaks")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TOUR, re.M | re.S)
SAMPLE_ID = "06h04adsgcbgrdx2"

pytestmark = pytest.mark.skipif(not shutil.which("swaks"), reason="swaks is not installed")


class Tour:
    """A terminal in which the blocks of the README are typed, one after the other."""

    def __init__(self, folder: Path, service: Product) -> None:
        self.folder, self.service = folder, service
        self.blocks = list(BLOCKS)
        self.settings = self.blocks.pop(0)

    def type(self, commands: str) -> subprocess.CompletedProcess[str]:
        text = f"set -eu\n{self.settings}\n{commands}".replace("127.0.0.1:2525", self.service.address)
        # The README's folder is the clone; the commands lie elsewhere here.
        environment = {**os.environ, "PATH": f"{GUARD.parent}:{os.environ['PATH']}"}
        return subprocess.run(["sh", "-c", text], cwd=self.folder, env=environment, capture_output=True, text=True)

    def next(self, id_: str = SAMPLE_ID) -> str:
        """Type the next block, with `id_` for the README's sample; what it printed. It must succeed."""
        done = self.type(self.blocks.pop(0).replace(SAMPLE_ID, id_))
        assert done.returncode == 0, done.stdout + done.stderr + self.service.said()
        return done.stdout

    def held(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.type("outbound-guard held list --json").stdout)
        return found

    def answer(self) -> str:
        """What one more message of hers is answered."""
        return self.type("swaks --server 127.0.0.1:2525 --from alice@shop.example --to bob@there.example").stdout

    def sink(self) -> list[str]:
        """The messages that were let through."""
        return [path.read_text() for path in sorted(self.folder.glob("local/data/sink/*.eml"))]


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    config = tmp_path / "local/outbound-guard.toml"
    # What scripts/run does at the first start, with free ports.
    subprocess.run([GUARD, "init", config], check=True, capture_output=True)
    config.write_text(
        config.read_text().replace("127.0.0.1:2525", "127.0.0.1:0") + '[metrics]\naddress = "127.0.0.1:0"\n'
    )
    with Product(config) as service:
        yield Tour(tmp_path, service)


@pytest.mark.long
@pytest.mark.timeout(300)  # Forty programs are started one after the other.
def test_the_tour_of_the_readme(tour: Tour) -> None:
    shown = tour.next()
    assert len(tour.sink()) == 10, shown
    assert all("Subject: Order" in message for message in tour.sink())
    until(lambda: tour.service.day("shop.example") == {"relay": 10}, tour.service.said)

    tour.next()
    let_through = len(tour.sink()) - 10
    assert let_through <= 5, "the burst was not contained"
    until(lambda: len(tour.held()) == 12 - let_through, tour.held)
    held = tour.held()
    assert {message["action"] for message in held} <= {"hold", "quarantine"}
    assert all(message["reasons"] for message in held)

    first = str(held[0]["id"])
    said = tour.next(first)
    assert re.search(r"^\+\d+\.\d\d +structure +defects: double_extension, executable_attachment", said, re.M), said

    tour.next(first)
    until(lambda: len(tour.sink()) == 10 + let_through + 1, tour.service.said)
    released = [message for message in tour.sink() if f"Subject: {held[0]['subject']}\n" in message]
    assert len(released) == 1
    until(lambda: first not in {message["id"] for message in tour.held()})

    tour.next()
    until(lambda: not tour.held(), tour.held)
    until(lambda: "OG-SUSPENDED" in tour.answer(), tour.answer)
    assert tour.blocks == []
