"""Pins: what people decide about pools, how it gets to the relays, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import VirtualClock
from outbound_guard.desk.accounts.acts import Act, decide
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import audit_queries, directory_queries
from tests.records import BOTH_LONG, Books, books

LEDGERS = BOTH_LONG

NOW = 1_700_000_000.0
POOLS = ("good", "bad")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def kept(tmp_path: Path, clock: VirtualClock) -> Iterator[Books]:
    with books(tmp_path, clock) as opened:
        opened.keep()
        yield opened


async def act(kept: Books, clock: VirtualClock, what: str, scope: str, subject: str, **more: Any) -> None:
    wanted = Act(what=what, by="ann", **({"reason": "contract"} | more))
    await decide(kept.ledger, kept.journal, clock, [(scope, subject)], wanted, pools=POOLS)
    kept.keep()


async def test_a_senders_own_pin_comes_first_and_one_may_end_by_itself(kept: Books, clock: VirtualClock) -> None:
    directory = Directory(kept.ledger, clock)
    await act(kept, clock, "pin", "account", "shop.test", pool="good")
    await act(kept, clock, "pin", "sender", "news@shop.test", pool="bad", until=NOW + 10)
    await directory.refresh()

    def pool(sender: str) -> str:
        return directory.pool(sender, "shop.test", clock.now())

    assert (pool("news@shop.test"), pool("anna@shop.test")) == ("bad", "good")
    assert directory.pool("anna@else.test", "else.test", NOW) == ""
    clock.advance(10)
    assert pool("news@shop.test") == "good"
    await act(kept, clock, "unpin", "account", "shop.test")
    await directory.refresh()
    assert pool("anna@shop.test") == ""
    assert not directory.suspended("anna@shop.test", "shop.test")
    history = directory_queries.history(kept.ledger, "shop.test")
    assert [(one.change, one.pool) for one in history] == [("unpinned", ""), ("pinned", "bad"), ("pinned", "good")]
    told = audit_queries.search(kept.ledger, audit_queries.Search()).entries
    assert [(one.what, one.subject, one.detail) for one in reversed(told)] == [
        ("account.pinned", "shop.test", "to pool good, contract"),
        ("sender.pinned", "news@shop.test", "to pool bad, contract"),
        ("account.unpinned", "shop.test", "contract"),
    ]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"pool": "gone"}, "there is no pool 'gone'; there are good, bad"),
        ({}, "there is no pool ''; there are good, bad"),
        ({"pool": "good", "reason": ""}, "a pin needs a reason"),
    ],
)
async def test_what_is_refused(kept: Books, clock: VirtualClock, more: dict[str, Any], why: str) -> None:
    with pytest.raises(DeskError) as caught:
        await act(kept, clock, "pin", "account", "shop.test", **more)
    assert str(caught.value) == why
    assert directory_queries.standings(kept.ledger) == []
