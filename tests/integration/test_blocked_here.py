""" "We are blocked" with what this installation knows: open cases, customers, and whose mail it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config, load
from outbound_guard.desk.blocked.here import told
from outbound_guard.ledger.records import AccountEntry, CaseEvent, CaseSubject
from tests.listserver import Zone, list_server
from tests.records import BOTH_LONG, Books, books, decision

LEDGERS = BOTH_LONG

CONFIG = """
[server]
data_dir = "data"
[[delivery.pool]]
name = "main"
smarthosts = ["127.0.0.1:10025"]
source_addresses = ["192.0.2.10"]
[blocklist]
file = "lists.toml"
resolvers = []
customers = { "vps.example" = ["203.0.113.7"] }
"""
REFUSED = (
    "<r@there.example>: host mx.there.example[198.51.100.9] said: 554 5.7.1 Client host [{address}] blocked using"
    " zen.spamhaus.org\n\nReturn-Path: <{sender}>\n"
)
CONTENT = (
    "<r@there.example>: host mx.there.example[198.51.100.9] said: 550 5.7.1 Message content rejected, looks like"
    " spam\n\nFrom: Somebody <{sender}>\n"
)


class Box:
    def __init__(self, config: Config, kept: Books, clock: VirtualClock) -> None:
        self.config, self.books, self.clock = config, kept, clock

    async def told(self, text: str, **options: Any) -> dict[str, Any]:
        return await told(text, self.config, self.books.ledger, self.clock, **options)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    (tmp_path / "guard.toml").write_text(CONFIG)
    (tmp_path / "lists.toml").write_text('[[list]]\nzone = "heavy.test"\n')
    (tmp_path / "data").mkdir()
    clock = VirtualClock(2000.0)
    with books(tmp_path / "data", clock) as kept:
        kept.ledger.migrate()
        yield Box(load(tmp_path / "guard.toml"), kept, clock)


async def test_ours_is_a_case_to_open_or_the_one_that_is_open(box: Box) -> None:
    text = REFUSED.format(address="192.0.2.10", sender="jane.roe@shop.example")
    found = await box.told(text, ask="never")
    assert (found["side"], found["step"], found["cases"], found["account"]) == ("provider", "open_case", [], "")
    assert found["open_case"]["subject"] == "192.0.2.10"
    assert found["open_case"]["list"] == "zen.spamhaus.org"
    assert "554 5.7.1" in found["open_case"]["reason"]
    assert "jane.roe@" not in found["redacted"]
    assert "192.0.2.10" in found["redacted"]
    about = CaseSubject(subject="192.0.2.10", source="zen.spamhaus.org")
    fields = {"state": "open", "stage": "verify", "opened": 1000.0}
    box.books.keep(CaseEvent(id="e", case="20260101-abcd", time=1.0, what="opened", fields=fields, subjects=(about,)))
    found = await box.told(text, ask="never")
    assert (found["step"], found["cases"]) == ("case", [{"id": "20260101-abcd", "stage": "verify"}])


async def test_the_customers_side_is_an_account_as_far_as_it_can_be_told(box: Box) -> None:
    # Of an address that a customer sends from by himself, his; though our records know another for the sender.
    box.books.keep(decision("m1", account="shop.example", sender="web@shop.example"))
    found = await box.told(REFUSED.format(address="203.0.113.7", sender="web@shop.example"), ask="never")
    assert (found["side"], found["step"], found["account"]) == ("customer", "account", "vps.example")
    # Of a sender whose mail we have seen, its account; the directory goes before that.
    found = await box.told(CONTENT.format(sender="web@shop.example"))
    assert (found["class"].partition(".")[0], found["step"], found["account"]) == ("content", "account", "shop.example")
    box.books.keep(AccountEntry(3000.0, "company", senders=("web@shop.example",)))
    assert (await box.told(CONTENT.format(sender="Web@Shop.example")))["account"] == "company"
    # Another mailbox of a domain that is an account; a stranger is nobody's.
    assert (await box.told(CONTENT.format(sender="other@shop.example")))["account"] == "shop.example"
    found = await box.told(CONTENT.format(sender="other@stranger.example"))
    assert (found["step"], found["account"]) == ("none", "")
    assert (await box.told(CONTENT.format(sender="MAILER-DAEMON@shop.example")))["account"] == ""


async def test_the_receivers_side_is_nothing_to_do_here(box: Box) -> None:
    found = await box.told("450 4.2.0 Greylisted, please come back later")
    assert (found["side"], found["step"], found["open_case"]) == ("receiver", "none", None)


async def test_lists_are_asked_if_that_is_wanted(box: Box) -> None:
    from outbound_guard.blocklist.asking import Asking
    from outbound_guard.blocklist.lists import lists_of
    from outbound_guard.dns import Questions

    async with list_server() as server:
        server.zones["heavy.test"] = Zone(listed={"192.0.2.10": ["127.0.0.2"]})
        questions = Questions((server.address,))
        asking = Asking(lists_of(box.config), questions, box.clock, per_second=2000, per_second_per_list=500)
        found = await box.told("192.0.2.10", ask="needed", asking=asking)
        # No resolver is configured, so that nobody is asked unless somebody wants it.
        assert (found["certain"], server.asked) == (False, {})
        found = await box.told("192.0.2.10", ask="always", asking=asking)
    assert (found["class"], found["list"], found["step"]) == ("our_address_blocked.list", "heavy.test", "open_case")
