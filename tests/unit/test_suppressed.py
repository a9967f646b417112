"""Suppression lists that suppress: the copy in memory, the answer, and what is sent to those who are left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.accounts.suppressed import Suppressed
from outbound_guard.clock import VirtualClock
from outbound_guard.delivery.classes import outcomes_of
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.withholding import send_to_rest
from outbound_guard.desk.accounts import suppressing
from outbound_guard.ledger import feedback_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.records import Suppression
from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply, suppressed
from tests.records import BOTH_LONG, Books, books

LEDGERS = BOTH_LONG

NOW = 1_800_000_000.0
OK, LISTED = Reply(250, "2.0.0", "ok"), Reply(451, "4.7.1", "OG-LISTED")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path, VirtualClock(NOW)) as found:
        found.keep()
        yield found


def added(address: str, why: str = "unknown_user", at: float = 0.0, account: str = "a.test") -> Suppression:
    return Suppression(NOW + at, account, address, "added", why)


async def test_who_is_on_the_list_and_for_whom(opened: Books) -> None:
    lists = Suppressed(opened.ledger)
    await lists.refresh()
    assert lists.answer("a.test", "gone@b.test") is None
    opened.keep(
        added("gone@b.test"), added("angry@b.test", "complaint"), added("x@b.test", "by_hand", account="c.test")
    )
    assert lists.answer("a.test", "gone@b.test") is None
    await lists.refresh()
    gone, angry = lists.answer("a.test", "Gone@B.test", "0id"), lists.answer("a.test", "angry@b.test")
    assert str(gone).startswith("550 5.1.1 OG-SUPPRESSED this recipient does not exist")
    assert str(gone).endswith("0id")
    assert str(angry).startswith("550 5.7.1 OG-SUPPRESSED this recipient does not want")
    assert lists.answer("a.test", "x@b.test") is None
    assert lists.answer("c.test", "x@b.test") is not None
    assert len(lists) == 3


async def test_an_international_domain_has_two_spellings_and_one_entry(opened: Books) -> None:
    clock = VirtualClock(NOW)
    suppressing.add(opened.journal, clock, "a.test", "gone@bücher.test", by="cli:root")
    opened.keep()
    lists = Suppressed(opened.ledger)
    await lists.refresh()
    assert lists.answer("a.test", "gone@xn--bcher-kva.test") is not None
    assert lists.answer("a.test", "Gone@BÜCHER.test") is not None
    suppressing.remove(opened.journal, clock, "a.test", "gone@xn--bcher-kva.test", by="cli:root")
    opened.keep()
    await lists.refresh()
    assert lists.answer("a.test", "gone@bücher.test") is None


async def test_changes_by_people_are_followed(opened: Books) -> None:
    clock = VirtualClock(NOW)
    opened.keep(added("gone@b.test"))
    lists = Suppressed(opened.ledger)
    await lists.refresh()
    for _ in range(2):
        clock.advance(10)
        suppressing.remove(opened.journal, clock, "a.test", "gone@b.test", by="test")
        opened.keep()
        await lists.refresh()
        assert lists.answer("a.test", "gone@b.test") is None
        clock.advance(10)
        suppressing.add(opened.journal, clock, "a.test", "gone@b.test", by="test")
        opened.keep()
        await lists.refresh()
        assert lists.answer("a.test", "gone@b.test") is not None
    # A late record does not bring back what was taken off since.
    clock.advance(10)
    suppressing.remove(opened.journal, clock, "a.test", "gone@b.test", by="test")
    opened.keep(added("gone@b.test", at=5))
    await lists.refresh()
    assert lists.answer("a.test", "gone@b.test") is None


async def test_memory_is_bounded_and_who_was_listed_last_is_refused(opened: Books) -> None:
    opened.keep(*(added(f"{number}@b.test", at=number) for number in range(30)))
    lists = Suppressed(opened.ledger, most=10)
    await lists.refresh()
    refused = [number for number in range(30) if lists.answer("a.test", f"{number}@b.test")]
    assert refused == list(range(20, 30))
    opened.keep(added("one-more@b.test", at=100))
    await lists.refresh()
    assert len(lists) == 10
    assert lists.answer("a.test", "one-more@b.test") is not None
    assert lists.answer("a.test", "20@b.test") is None


async def test_more_than_is_read_in_one_go(opened: Books) -> None:
    opened.keep(*(added(f"{number}@b.test", at=number) for number in range(4500)))
    lists = Suppressed(opened.ledger)
    await lists.refresh()
    assert len(lists) == 4500
    assert feedback_queries.suppression_changes(opened.ledger, 4499, 10) == [
        ("a.test", "4499@b.test", "unknown_user", 4500)
    ]


@pytest.mark.sqlite
async def test_without_a_ledger_nobody_is_refused_and_nothing_is_forgotten(tmp_path: Path, opened: Books) -> None:
    away = Suppressed(Ledger(f"sqlite:///{tmp_path / 'no' / 'ledger.sqlite3'}"))
    await away.refresh()
    assert away.answer("a.test", "gone@b.test") is None
    opened.keep(added("gone@b.test"))
    lists = Suppressed(opened.ledger)
    await lists.refresh()
    opened.ledger.close()
    opened.file.rename(tmp_path / "elsewhere")
    await lists.refresh()
    assert lists.answer("a.test", "gone@b.test") is not None


def test_our_own_refusals_teach_nothing() -> None:
    replies = [OK, suppressed("unknown_user", "1"), suppressed("complaint", "1"), Reply(550, "5.1.1", "no such user")]
    assert dict(outcomes_of(replies)) == {"delivered": 1, "unknown_user": 1}


async def test_the_rest_is_sent_and_everybody_has_an_answer() -> None:
    envelope = Envelope("a@a.test", ("one@b.test", "two@b.test", "three@b.test", "four@b.test"))
    known = {0: suppressed("complaint", "1"), 2: suppressed("unknown_user", "1")}
    asked: list[tuple[str, ...]] = []

    async def send(rest: Envelope) -> Result:
        asked.append(rest.recipients)
        return Result((OK, LISTED), "hop:25", listed=(1,), relayed=(0,), source="192.0.2.1")

    result = await send_to_rest(known, envelope, send)
    assert asked == [("two@b.test", "four@b.test")]
    assert result.replies == (known[0], OK, known[2], LISTED)
    assert (result.listed, result.relayed, result.reached) == ((3,), (1,), True)
    assert [result.peer_of(place) for place in range(4)] == ["", "hop:25", "", "hop:25"]
    assert [result.source_of(place) for place in range(4)] == ["", "192.0.2.1", "", "192.0.2.1"]
    everybody = dict.fromkeys(range(4), known[0])
    assert await send_to_rest(everybody, envelope, send) == Result((known[0],) * 4, "", reached=False)
    await send_to_rest({}, envelope, send)
    assert asked[1:] == [envelope.recipients]
