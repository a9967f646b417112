"""A data directory with the work on cases, as the console process does it, and the commands; time stands still."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.__main__ import main
from outbound_guard.cli import room
from outbound_guard.clock import VirtualClock
from outbound_guard.config import load
from outbound_guard.desk.cases.work import Work
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.records import Delivered, Record
from outbound_guard.ledger.tables import listing, listing_history
from tests.records import Books, books, decision

START = 1_790_000_000.0
DAY = 86400.0
CONFIG = """
[server]
hostname = "guard.example.net"
data_dir = "./data"
[[delivery.pool]]
name = "main"
smarthosts = ["127.0.0.1:10025"]
source_addresses = ["192.0.2.10", "192.0.2.11"]
[cases]
refusals = 5
clean_days = 3
original_readers = ["dana"]
organisation = "Example Hosting"
contact = "abuse@example.net"
"""


class House:
    """The product's data directory, its console process' work, and its commands; time stands where it was put."""

    def __init__(self, folder: Path, clock: VirtualClock, books: Books, capfd: pytest.CaptureFixture[str]) -> None:
        self.clock, self.books = clock, books
        self.config = folder / "guard.toml"
        self.reader = Ledger(books.url)
        self._capfd = capfd
        self.work = self.working()

    def working(self) -> Work:
        """The work as a process that has just started does it."""
        return Work(self.books.ledger, self.reader, load(self.config), self.clock)

    def listed(
        self, subject: str, zone: str, *, codes: str = "127.0.0.2", weight: float = 1.0, reason: str = ""
    ) -> None:
        """The watch has found a listing."""
        self.said(subject, zone, "listed", codes, reason or f"https://lookup.example/{subject}", weight)

    def clean(self, subject: str, zone: str) -> None:
        """The watch has found that a listing has ended."""
        self.said(subject, zone, "clean", "", "", 1.0)

    def said(self, subject: str, zone: str, state: str, codes: str, reason: str, weight: float) -> None:
        """The watch has found something."""
        now = self.clock.now()
        changed = {"time": now, "subject": subject, "zone": zone, "state": state, "codes": codes, "reason": reason}
        row = {name: changed[name] for name in ("subject", "zone", "state", "codes", "reason")}
        row |= {"known": state, "scope": "address", "weight": weight, "first_seen": now, "last_seen": now}
        row |= {"clean_since": now if state == "clean" else 0.0, "checked": now}
        with self.books.ledger.connection() as connection:
            connection.execute(listing.delete().where(listing.c.subject == subject, listing.c.zone == zone))
            connection.execute(listing.insert(), [row])
            connection.execute(listing_history.insert(), [changed])

    def refused(
        self,
        number: int,
        recipient: str,
        text: str,
        *,
        account: str = "shop.example",
        code: int = 550,
        source: str = "",
    ) -> None:
        """So many messages of an account were refused; `source` is the address of ours that they were tried from."""
        for one in range(number):
            id_, now = f"{account}-{self.clock.now():.0f}-{one}", self.clock.now()
            self.sent(id_, account, source)
            self.keep(Delivered(id_, now, recipient, code, "5.7.1", text, "127.0.0.1:10025", source_address=source))

    def sent(self, id_: str, account: str, source: str = "", **other: Any) -> None:
        """A message of an account was tried once, from an address of ours; with one recipient that is all of it."""
        fields = {"action": "relay", "state": "", "score": 1.0} | other
        self.keep(decision(id_, received=self.clock.now(), account=account, source_address=source, **fields))

    def noted(self, peer: str, source: str, text: str) -> None:
        """A next hop has refused an address of ours, and the mail went out another way."""
        text = f"refuses our address {source}: {text}"
        self.keep(Delivered("", self.clock.now(), "", 554, "5.7.1", text, peer, False, source))

    def keep(self, record: Record) -> None:
        """Something was recorded. No scribe is left at work, so that commands do its work themselves."""
        self.books.keep(record)
        self.books.scribe.close()

    def run(self, *words: str, code: int = 0, text: str = "") -> str:
        """A command; what it prints, or what it says on standard error if it must fail."""
        got = main([*words, "--config", str(self.config)])
        out, err = self._capfd.readouterr()
        assert got == code, (words, got, out, err)
        return out if code == 0 else err

    def case(self, *words: str, **options: Any) -> Any:
        """`case ... --json`, decoded."""
        said = self.run("case", *words, "--json", **options)
        return json.loads(said) if not options.get("code") else said

    @property
    def cases(self) -> list[dict[str, Any]]:
        """All cases, the newest first."""
        found: list[dict[str, Any]] = self.case("list", "--state", "all")
        return found

    def items(self, id_: str) -> dict[str, dict[str, Any]]:
        """The checklist by item."""
        return {item["item"]: item for item in self.case("show", id_)["checklist"]}


@contextmanager
def opened(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, config: str = CONFIG
) -> Iterator[House]:
    """A house in an empty folder."""
    clock = VirtualClock(START)
    # The commands ask the machine what time it is; here it is the same time everywhere.
    monkeypatch.setattr(room, "SystemClock", lambda: clock)
    (folder / "guard.toml").write_text(config)
    (folder / "data").mkdir()
    with books(folder / "data", clock) as theirs:
        theirs.ledger.migrate()
        house = House(folder, clock, theirs, capfd)
        try:
            yield house
        finally:
            house.reader.close()
