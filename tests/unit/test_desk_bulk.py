"""Decisions about many held messages: previewed, placed, undone in time, carried out once, whatever comes between."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from outbound_guard import desk
from outbound_guard.clock import VirtualClock
from outbound_guard.desk import DeskError
from outbound_guard.desk.held import bulk
from outbound_guard.desk.held.bulk_work import BATCH, Work
from outbound_guard.desk.held.teaching import Teaching
from outbound_guard.desk.policy.weights import Lessons
from outbound_guard.ledger import bulk_queries, queries
from outbound_guard.ledger.held_queries import Search
from outbound_guard.mail import Envelope
from outbound_guard.reputation import Reputation
from outbound_guard.spool import NotInSpool, Spool
from outbound_guard.state import StateDown
from tests.records import BOTH_LONG, Books, books, decision, entry

LEDGERS = BOTH_LONG

CONTENT = b"Subject: Hello\r\n\r\nText\r\n"
TEXTS = {"one": 0xA1, "other": 0xB2}


class House:
    """Spool and books with held mail, and the one who carries decisions out."""

    def __init__(self, spool: Spool, opened: Books, clock: VirtualClock) -> None:
        self.spool, self.books, self.clock = spool, opened, clock
        self.ledger = opened.ledger
        self.said: list[str] = []

    async def hold(self, *ids: str, state: Any = "held", text: str = "one", **other: Any) -> None:
        """Messages as the relay leaves them; `other` replaces fields of entry and decision alike."""
        records = []
        for id_ in ids:
            meta = {"fingerprint": f"{TEXTS[text]:x}"}
            own = {name: value for name, value in other.items() if name != "mail_from"}
            mail_from = other.get("mail_from", "a@example.org")
            owned = mail_from if mail_from.endswith("@example.org") else ""
            envelope = Envelope(mail_from, ("x@example.net",))
            await self.spool.put(entry(id_, envelope=envelope, bounce_to=owned, meta=meta, **own), [CONTENT], state)
            records.append(decision(id_, state=state, text=f"{TEXTS[text]:016x}", mail_from=mail_from, **own))
        self.books.keep(*records)

    async def place(self, meant: bulk.Meant, act: Any = "release", **options: Any) -> str:
        """A decision in the ledger; its id."""
        options = {"by": "console:ann", "reason": "seen"} | options
        placed = await bulk.place(self.ledger, self.books.journal, self.clock, meant, act, **options)
        self.settle()
        # What is answered before the ledger knows it is what the ledger says then.
        assert placed == await bulk.progress(self.ledger, placed.id)
        return placed.id

    def settle(self) -> None:
        """The ledger has what the journal has."""
        self.books.journal.close()
        self.books.scribe.once()

    def work(self, **options: Any) -> Work:
        """Carries out what is due."""

        async def settled() -> bool:
            self.settle()
            return True

        def teaching(by: str, say: Callable[[str], None]) -> Teaching:
            @contextlib.asynccontextmanager
            async def memory() -> AsyncIterator[Reputation]:
                raise StateDown("it is away")
                yield

            return Teaching(
                memory,
                lambda: Lessons(self.ledger, self.books.journal, self.clock, 5.0, by=by),
                self.clock,
                say,
            )

        return Work(
            self.ledger,
            self.spool,
            self.books.journal,
            self.clock,
            hostname="guard.test",
            settled=settled,
            teaching=teaching,
            **{"pause": 0.0} | options,
        )

    async def carry_out(self, id_: str) -> bulk_queries.Bulk:
        """Due or not: half a minute later; what it has come to."""
        self.clock.advance(31.0)
        # Threads of work that was broken off may still have a message in hand.
        await self.work(pause=0.5).once()
        self.settle()
        return await bulk.progress(self.ledger, id_)

    async def places(self) -> dict[str, str]:
        """State in the spool by id."""
        return {id_: state for state, ids in [(s, await self.spool.ids(s)) for s in STATES] for id_ in ids}

    def audit(self, id_: str) -> list[str]:
        """What the audit says about a message or decision."""
        return [row[0] for row in self.books.sql(f"SELECT what FROM audit WHERE subject = '{id_}' ORDER BY serial")]


STATES: tuple[Any, ...] = ("incoming", "queue", "held", "quarantine")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = VirtualClock(1_700_000_000.0)
    spool = Spool(tmp_path / "spool", clock, 0, threads=8)
    with books(tmp_path, clock) as opened:
        opened.keep()
        opened.ledger.migrate()
        yield House(spool, opened, clock)
    spool.close()


async def _when(come: Callable[[], bool], working: asyncio.Task[Any]) -> None:
    """Returns when that has come about, while the work is still going on."""
    for _ in range(1_000_000):
        if come():
            return
        assert not working.done(), working.exception()
        await asyncio.sleep(0)


async def test_a_preview_says_what_would_happen_and_changes_nothing(house: House) -> None:
    await house.hold("m1", "m2", received=1000.0)
    await house.hold("m3", text="other", mail_from="stranger@elsewhere.example", received=2000.0)
    await house.hold("m4", account="other.example", sender="b@other.example", state="quarantine")
    told = await bulk.preview(house.ledger, Search(account="example.org"), "return")
    assert (told.number, told.summary.number, told.summary.oldest, told.summary.newest) == (2, 3, 1000.0, 2000.0)
    (out,) = told.left_out
    assert out.number == 1
    assert "does not own" in out.why
    told = await bulk.preview(house.ledger, ("m1", "m4", "unknown"), "release", teach=True)
    assert told.number == 2
    assert [(out.number, out.why) for out in told.left_out] == [(1, "not held any more")]
    assert {share.key: share.number for share in told.summary.most_accounts} == {"example.org": 1, "other.example": 1}
    assert told.summary.texts == 1
    assert any("1 text marked as honest" in sentence for sentence in told.consequences)
    house.settle()
    assert set((await house.places()).values()) == {"held", "quarantine"}
    assert not bulk_queries.newest(house.ledger)


async def test_nothing_happens_before_it_is_due_and_then_all_of_it_once(house: House) -> None:
    ids = [f"m{number:03}" for number in range(BATCH + 10)]
    await house.hold(*ids)
    id_ = await house.place(Search(account="example.org"))
    assert await house.work().once() == 0
    assert set((await house.places()).values()) == {"held"}
    done = await house.carry_out(id_)
    assert (done.state, done.counts) == ("done", {"done": len(ids)})
    assert await house.places() == dict.fromkeys(ids, "incoming")
    assert house.audit(id_) == ["bulk.release", "bulk.done"]
    assert [house.audit(one) for one in ids] == [["held.release"]] * len(ids)
    with house.ledger.connection() as connection:
        rows = connection.exec_driver_sql("SELECT by, detail FROM audit WHERE subject = 'm000'").all()
    assert [tuple(row) for row in rows] == [("console:ann", f"seen (decision {id_})")]
    assert await house.work().once() == 0
    assert queries.held_one(house.ledger, "m000").state == "released"  # type: ignore[union-attr]


async def test_it_can_be_undone_until_the_last_moment_and_not_after(house: House) -> None:
    await house.hold("m1", "m2")
    id_ = await house.place(("m1",), "delete")
    late = await house.place(("m2",), "delete")
    house.clock.advance(29.9)
    # It is in the journal only: the ledger hears of it when the work begins.
    await bulk.undo(house.ledger, house.books.journal, house.clock, id_, by="console:ben")
    house.clock.advance(0.2)
    with pytest.raises(DeskError, match="too late"):
        await bulk.undo(house.ledger, house.books.journal, house.clock, late, by="console:ben")
    await house.work().once()
    house.settle()
    undone = await bulk.progress(house.ledger, id_)
    assert (undone.state, undone.changed_by, undone.counts) == ("undone", "console:ben", {"pending": 1})
    assert house.audit(id_) == ["bulk.delete", "bulk.undone"]
    assert await house.places() == {"m1": "held"}
    with pytest.raises(DeskError, match="undone already"):
        await bulk.undo(house.ledger, house.books.journal, house.clock, id_, by="console:ben")
    with pytest.raises(DeskError, match="no decision"):
        await bulk.undo(house.ledger, house.books.journal, house.clock, "unknown", by="console:ben")
    # What was undone is free again.
    assert (await bulk.preview(house.ledger, ("m1",), "release")).number == 1


@pytest.mark.parametrize(
    ("meant", "act", "options", "says"),
    [
        (Search(), "release", {}, "say which"),
        (Search(before=5.0), "release", {}, "say which"),
        ((), "release", {}, "no message is selected"),
        (("m1",), "return", {"teach": True}, "nothing about it"),
        (("m1",), "forward", {}, "no such act"),
        (("unknown",), "release", {}, "nothing that is held fits"),
        (("m1",), "release", {"delay": -1.0}, "after 0 to"),
        (tuple(str(number) for number in range(bulk.MOST_NAMED + 1)), "release", {}, "by name"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    house: House, meant: bulk.Meant, act: Any, options: dict[str, Any], says: str
) -> None:
    await house.hold("m1")
    with pytest.raises(DeskError, match=says):
        await bulk.place(house.ledger, house.books.journal, house.clock, meant, act, by="console:ann", **options)
    house.settle()
    assert not bulk_queries.newest(house.ledger)


async def test_a_message_is_in_one_decision_at_a_time_and_that_is_said(house: House) -> None:
    await house.hold("m1", "m2", "m3")
    first = await house.place(("m1", "m2"), "delete")
    told = await bulk.preview(house.ledger, Search(account="example.org"), "release")
    assert (told.number, [(out.number, out.why) for out in told.left_out]) == (
        1,
        [(2, "in another decision that is not carried out yet")],
    )
    second = await house.place(Search(account="example.org"), "release")
    assert bulk_queries.engaged(house.ledger, ("m1", "m2", "m3")) == {"m1": first, "m2": first, "m3": second}
    await house.carry_out(second)
    assert await house.places() == {"m3": "incoming"}
    assert (await bulk.progress(house.ledger, first)).counts == {"done": 2}


async def test_what_others_did_meanwhile_is_reported(house: House) -> None:
    await house.hold("m1", "m2", "m3")
    id_ = await house.place(("m1", "m2", "m3"), "release")
    await desk.delete(house.spool, house.books.journal, house.clock, "m1", by="console:ben")
    await house.spool.remove("m2")
    done = await house.carry_out(id_)
    assert done.counts == {"done": 1, "gone": 2}
    details = {item.id: item.detail for item in bulk_queries.items(house.ledger, id_, ("gone",))}
    assert details["m1"] == "deleted by console:ben"
    assert "no held message" in details["m2"]
    assert queries.held_one(house.ledger, "m1").state == "deleted"  # type: ignore[union-attr]


async def test_what_is_in_other_hands_is_waited_for(house: House) -> None:
    await house.hold("m1", "m2")
    id_ = await house.place(("m1", "m2"))
    lease = await house.spool.lease("m1", "held")
    house.clock.advance(31.0)
    working = asyncio.create_task(house.work(pause=0.05).once())
    await _when(lambda: "m2" in house.spool.files.ids("incoming"), working)
    lease.close()
    await working
    house.settle()
    assert (await bulk.progress(house.ledger, id_)).counts == {"done": 2}
    await house.hold("m4")
    id_ = await house.place(("m4",))
    with await house.spool.lease("m4", "held"):
        failed = await house.carry_out(id_)
    assert failed.counts == {"failed": 1}
    assert await house.places() == {"m1": "incoming", "m2": "incoming", "m4": "held"}


async def test_a_return_goes_to_senders_that_the_account_owns(house: House) -> None:
    await house.hold("m1")
    await house.hold("m2", mail_from="stranger@elsewhere.example")
    await house.hold("m3", mail_from="")
    done = await house.carry_out(await house.place(("m1", "m2", "m3"), "return"))
    assert done.counts == {"done": 1, "failed": 2}
    why = {item.id: item.detail for item in bulk_queries.items(house.ledger, done.id, ("failed",))}
    assert "backscatter" in why["m2"]
    assert "no sender" in why["m3"]
    places = await house.places()
    assert {places.pop("m2"), places.pop("m3")} == {"held"}
    (report,) = places
    bounce, _, state = await house.spool.find(report)
    assert (state, bounce.envelope.mail_from, bounce.envelope.recipients) == ("incoming", "", ("a@example.org",))
    content = await house.spool.content(report)
    assert b"OG-RETURNED" in content
    assert b"Reporting-MTA: dns; guard.test" in content
    assert queries.held_one(house.ledger, "m1").state == "returned"  # type: ignore[union-attr]


async def test_a_crash_in_the_middle_is_finished_and_nothing_is_done_twice(house: House) -> None:
    ids = [f"m{number:03}" for number in range(3 * BATCH)]
    await house.hold(*ids)
    id_ = await house.place(Search(account="example.org"), "delete", teach=True)
    house.clock.advance(31.0)
    dying = asyncio.create_task(house.work().once())
    # Somewhere in the second batch or later: files are gone of which no result is written.
    await _when(lambda: len(house.spool.files.ids("held")) <= 2 * BATCH - 20, dying)
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    left = await house.spool.ids("held")
    assert left, "the test is to stop it in the middle"
    house.clock.advance(5.0)
    done = await house.carry_out(id_)
    assert (done.state, done.counts) == ("done", {"done": len(ids)})
    assert await house.places() == {}
    counted = Counter(len(house.audit(one)) for one in ids)
    # At most what was journaled when it died and had to be finished stands there twice.
    assert counted[1] >= len(ids) - BATCH
    assert set(counted) <= {1, 2}


async def test_without_a_journal_nothing_is_done_and_it_goes_on_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.hold("m1", "m2")
    id_ = await house.place(("m1", "m2"))
    house.clock.advance(31.0)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(house.books.journal, "write", full)
        with pytest.raises(DeskError, match="journal cannot be written"):
            await house.work().once()
    assert set((await house.places()).values()) == {"held"}
    assert (await house.carry_out(id_)).counts == {"done": 2}


async def test_teaching_is_once_for_a_campaign_and_what_cannot_be_taught_is_remarked(house: House) -> None:
    await house.hold(*[f"m{number}" for number in range(10)])
    done = await house.carry_out(await house.place(Search(text=f"{TEXTS['one']:016x}"), "release", teach=True))
    assert done.counts == {"done": 10}
    assert len(done.remarks) == 2
    assert all("state cannot be reached" in remark for remark in done.remarks)
    with house.ledger.connection() as connection:
        learned = connection.exec_driver_sql("SELECT DISTINCT message, finding, by FROM weight_history").all()
    assert [tuple(row)[1:] for row in learned] == [("honest", "console:ann")]


async def test_a_return_of_one_message(house: House) -> None:
    await house.hold("m1")
    await house.hold("m2", mail_from="stranger@elsewhere.example")
    by = {"hostname": "guard.test", "by": "cli:root"}
    await desk.give_back(house.spool, house.books.journal, house.clock, "m1", **by)
    with pytest.raises(DeskError, match="backscatter"):
        await desk.give_back(house.spool, house.books.journal, house.clock, "m2", **by)
    with pytest.raises(NotInSpool):
        await house.spool.find("m1")
    house.settle()
    assert house.audit("m1") == ["held.return"]
    assert house.audit("m2") == []
