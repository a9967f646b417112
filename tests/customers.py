"""A customer of a house with held mail: an account with a contact, and mail of three of its senders.

with customers(folder, hops) as house:
    house.visit.get(house.link())          # as the customer
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from outbound_guard.clock import SystemClock
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import AccountEntry
from outbound_guard.mail import Signal
from tests.heldhouse import fill, held
from tests.nexthop import NextHop
from tests.product import Hops, Product, until
from tests.webconsole import Visit, signed_in

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e"
SETTINGS = """
[customers]
url = "http://127.0.0.1:1"
help = "abuse@guard.test"
releases_per_day = 4
{more}
"""
RATE = (Signal("rate", 4.2, "80 messages in an hour, usually 3", volume=True),)
SECRET = "novelty-sentence-of-the-machine"
BAD = (Signal("rate", 2.0, SECRET, volume=True), Signal("from_address", 3.0, f"{SECRET}: not of shop.test"))
SHOP = "shop.test"
SCRIPT = "web1/1012:contact.php"


class House:
    """The product, its next hop, the desk, and a browser without any cookie."""

    def __init__(self, product: Product, hop: NextHop, desk: Visit, ids: dict[str, list[str]]) -> None:
        self.product, self.hop, self.desk, self.ids = product, hop, desk, ids
        self.address: str = product.addresses["console"]
        self.visit = httpx.Client(base_url=f"http://{self.address}", timeout=30.0, trust_env=False)
        self.visit.headers["Accept-Language"] = "en"

    def link(self, account: str = SHOP) -> str:
        """The path of a new link."""
        made = self.desk.api("POST", "/customers/links", json={"account": account})
        assert made.status_code == 201, made.text
        found: str = made.json()["url"]
        return found.removeprefix("http://127.0.0.1:1")

    def answer(self, path: str, sender: str, was: str, **headers: str) -> httpx.Response:
        """An answer given; the page that comes then."""
        form = {"sender": sender, "was": was}
        return self.visit.post(f"{path}/answer", data=form, headers=headers, follow_redirects=True)

    def states(self, ids: list[str]) -> list[str]:
        """The states of messages, as the desk sees them."""
        return [self.desk.api("GET", f"/held/{id_}").json()["message"]["state"] for id_ in ids]

    def audit(self, what: str) -> list[dict[str, Any]]:
        """Entries of the audit, newest first."""
        found: list[dict[str, Any]] = self.desk.api("GET", "/audit", what=what).json()["items"]
        return found

    def delivered(self) -> set[str]:
        """Ids of messages that reached the next hop."""
        bodies = (re.search(rb"Text of ([0-9a-z]{16})", one.raw) for one in list(self.hop.messages))
        return {found[1].decode() for found in bodies if found}


@contextmanager
def customers(folder: Path, hops: Hops, more: str = "", console: str = "") -> Iterator[House]:
    """A house with held mail, running. `more` are settings of its [customers], `console` of its [console]."""
    now = time.time() - 3600
    hop = hops.start()
    product = Product.made(folder, smarthosts=[hop.address], relays=1, more=SETTINGS.format(more=more))
    product.config.write_text(product.config.read_text().replace("[console]\n", f"[console]\n{console}\n"))
    cal = {"sender": "cal@shop.test", "mail_from": "cal@shop.test", "signals": RATE, "text": ""}
    ids = {
        "anna": fill(
            product.data,
            [
                held(
                    now + n,
                    subject=f"News {n}",
                    signals=RATE,
                    text="",
                    recipients=(f"someone{n}@there.test",) * (n + 1),
                )
                for n in range(6)
            ],
        ),
        "bob": fill(
            product.data,
            [
                held(
                    now, sender="bob@shop.test", subject=HOSTILE, signals=BAD, text="", recipients=("victim@bank.test",)
                )
            ],
        ),
        "cal": fill(product.data, [held(now + n, subject=f"Cal {n}", **cal) for n in range(2)]),
        "script": fill(product.data, [held(now, sender=SCRIPT, subject="Buy", signals=BAD, text="")]),
        "other": fill(
            product.data,
            [
                held(
                    now,
                    account="other.test",
                    sender="eve@other.test",
                    subject="Secret of another",
                    signals=RATE,
                    text="",
                )
            ],
        ),
    }
    journal = Journal(product.data / "journal", "test-9", SystemClock())
    for account in (SHOP, "other.test"):
        journal.append(AccountEntry(time=now, account=account, name=account, contact=f"owner@private-{account}"))
    journal.append(AccountEntry(time=now, account="stolen.test", contact="dan@stolen.test"))
    journal.close()
    fill(product.data, [held(now, account="stolen.test", sender="dan@stolen.test", signals=RATE, text="")])
    with product, signed_in(product, "ann", role="operator") as desk:
        until(lambda: desk.api("GET", "/held", account=SHOP).json()["total"] == 10, "the ledger knows what is held")
        house = House(product, hop, desk, ids)
        try:
            yield house
        finally:
            house.visit.close()
