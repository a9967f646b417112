"""Acts on queued mail over a real spool, journal and ledger; the clock is the test's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import msgspec
import pytest

from outbound_guard import durable
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Delivery
from outbound_guard.delivery.bounce import CODE
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held.mail import give_back, held_list, release
from outbound_guard.desk.queue.deciding import Progress as Done
from outbound_guard.desk.queue.desk import QueueDesk
from outbound_guard.desk.queue.index import Index
from outbound_guard.desk.queue.waiting import Search
from outbound_guard.ledger import message_queries
from outbound_guard.ledger.queries import Filters
from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply
from outbound_guard.spool import Entry, Progress, Spool
from tests.records import BOTH_LONG, Books, books, decision

LEDGERS = BOTH_LONG

NOW = 1_700_000_000.0
GREY = Reply(451, "4.7.1", "Greylisted, try again")
FULL = Reply(452, "4.2.2", "mailbox is full")
_SAY = r"say which|no message"
CONTENT = b"Subject: Hello\r\n\r\nText\r\n"


class Desk:
    """The desk of the queue, and its spool and books."""

    def __init__(self, folder: Path, opened: Books, clock: VirtualClock) -> None:
        self.clock, self.opened = clock, opened
        self.spool = Spool(folder / "spool", clock, 0, threads=4)
        self.queue = QueueDesk(self.spool, opened.journal, clock, Delivery(expiry=86400), "guard.test", patience=30.0)

    async def put(self, id_: str, *recipients: str, progress: Progress | None = None, **other: object) -> Entry:
        """A message that is queued, and known to the ledger."""
        fields = {
            "id": id_,
            "received": NOW - 600,
            "envelope": Envelope("a@example.org", recipients or ("x@one.test",)),
            "account": "example.org",
            "sender": "a@example.org",
            "subject": "Hello",
            "bounce_to": "a@example.org",
            "due": NOW + 600,
            "attempts": 1,
        }
        entry = Entry(**(fields | other))  # type: ignore[arg-type]
        await self.spool.put(entry, [CONTENT], "queue")
        if progress:
            self.spool.files.save(id_, progress)
        if entry.code != CODE:
            known = decision(id_, received=entry.received, action="relay", state="queued")
            self.opened.keep(msgspec.structs.replace(known, recipients=entry.envelope.recipients))
        return entry

    async def do(self, act: str, meant: Search | tuple[str, ...], reason: str = "") -> Done:
        """Do it and wait until it is done."""
        placed = await self.queue.place(meant, act, by="console:ann", reason=reason)  # type: ignore[arg-type]
        await self.queue.acts.settled()
        self.opened.keep()
        return placed

    async def reports(self) -> list[tuple[Entry, bytes]]:
        found = [entry for entry in self.spool.entries("incoming") if entry.code == CODE]
        return [(entry, await self.spool.content(entry.id)) for entry in found]

    def history(self, id_: str) -> message_queries.History:
        return message_queries.history(self.opened.ledger, id_)

    def audit(self) -> list[tuple[str, str, str, str]]:
        with self.opened.ledger.connection() as connection:
            rows = connection.exec_driver_sql("select by, what, subject, detail from audit order by serial")
            return [tuple(row) for row in rows]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = VirtualClock(NOW)
    with books(tmp_path, clock) as opened:
        opened.keep()
        made = Desk(tmp_path, opened, clock)
        yield made
        made.spool.close()


async def test_retry_makes_it_due_and_leaves_its_expiry(desk: Desk) -> None:
    tried = Progress(
        attempts=4, due=NOW + 3000, since=NOW - 5000, remaining=("y@one.test",), replies={"y@one.test": GREY}
    )
    await desk.put("m1", "x@one.test", "y@one.test", progress=tried)
    done = await desk.do("retry", ("m1",), "the server is back")
    assert (done.done, done.state) == (1, "done")
    _, progress, state = await desk.spool.find("m1")
    assert state == "incoming"
    assert progress == msgspec.structs.replace(tried, due=NOW)
    assert [one.id for one in await desk.spool.claim()] == ["m1"]
    assert desk.audit() == [("console:ann", "queue.retry", "m1", "the server is back")]


async def test_what_is_held_is_held_mail_and_goes_on_where_it_stopped(desk: Desk) -> None:
    await desk.put(
        "m1", "x@one.test", "y@one.test", progress=Progress(attempts=2, due=NOW + 60, remaining=("y@one.test",))
    )
    await desk.do("hold", Search(destination="one.test"), "a look first")
    [row] = await held_list(desk.opened.ledger, Filters())
    assert (row.id, row.account, row.sender, row.state, row.due) == ("m1", "example.org", "a@example.org", "held", 0.0)
    assert (row.changed_by, row.change_reason) == ("console:ann", "a look first")
    with desk.opened.ledger.connection() as connection:
        shown = connection.exec_driver_sql("select mail_from, recipient_count, subject, search from held").one()
    assert tuple(shown[:3]) == ("a@example.org", 2, "Hello")
    assert "hello" in shown[3]
    await release(desk.spool, desk.opened.journal, desk.clock, "m1", by="test")
    _, progress, state = await desk.spool.find("m1")
    assert (state, progress.remaining) == ("incoming", ("y@one.test",))


async def test_held_from_the_queue_and_returned_tells_only_of_those_who_have_not_got_it(desk: Desk) -> None:
    await desk.put(
        "m1", "x@one.test", "y@one.test", progress=Progress(attempts=2, due=NOW + 60, remaining=("y@one.test",))
    )
    await desk.do("hold", ("m1",))
    await give_back(desk.spool, desk.opened.journal, desk.clock, "m1", hostname="guard.test", by="test")
    [(_, report)] = await desk.reports()
    assert b"y@one.test" in report
    assert b"x@one.test" not in report


async def test_given_up_is_told_to_the_sender_and_the_ledger(desk: Desk) -> None:
    await desk.put("m1", progress=Progress(attempts=2, due=NOW + 60, replies={"x@one.test": GREY}))
    done = await desk.do("bounce", ("m1",), "wrong\r\nserver")
    assert done.done == 1
    [(entry, report)] = await desk.reports()
    assert (entry.envelope.mail_from, entry.envelope.recipients) == ("", ("a@example.org",))
    told = message_from_bytes(report)
    assert told.get_content_type() == "multipart/report"
    assert b"554 5.7.0 OG-RETURNED returned by the postmaster: wrong server" in b" ".join(report.split())
    [row] = desk.history("m1").deliveries
    assert (row["code"], row["recipient"], row["final"], row["peer"]) == (554, "x@one.test", True, "")
    assert "Greylisted, try again" in row["text"]
    assert not os.listdir(desk.spool.files.directory / "queue")
    assert not os.listdir(desk.spool.files.directory / "progress")


async def test_nobody_is_told_whose_address_is_not_the_accounts(desk: Desk) -> None:
    await desk.put("m1", bounce_to="")
    await desk.put("m2", code=CODE, envelope=Envelope("", ("a@example.org",)), bounce_to="", meta={"about": "m0"})
    told = await desk.queue.preview(("m1", "m2"), "bounce")
    assert told.number == 2
    assert any(sentence.startswith("Of 2 nobody is told") for sentence in told.consequences)
    done = await desk.do("bounce", ("m1", "m2"))
    assert done.done == 2
    assert not await desk.reports()
    assert not os.listdir(desk.spool.files.directory / "queue")


async def test_only_recipients_that_fit_are_given_up(desk: Desk) -> None:
    replies = {"x@one.test": GREY, "y@two.test": FULL}
    before = Progress(attempts=2, due=NOW + 60, remaining=tuple(replies), replies=replies)
    await desk.put("m1", "w@one.test", "x@one.test", "y@two.test", progress=before)
    await desk.do("bounce", Search(reply_class="mailbox_full"))
    _, progress, state = await desk.spool.find("m1")
    assert state == "queue"
    assert progress == msgspec.structs.replace(before, remaining=("x@one.test",), replies={"x@one.test": GREY})
    [(_, report)] = await desk.reports()
    assert b"y@two.test" in report
    assert b"x@one.test" not in report
    assert [row["recipient"] for row in desk.history("m1").deliveries] == ["y@two.test"]


async def test_a_report_of_our_own_is_not_held(desk: Desk) -> None:
    await desk.put("m1")
    await desk.put("m2", code=CODE, envelope=Envelope("", ("x@one.test",)), bounce_to="")
    told = await desk.queue.preview(Search(destination="one.test"), "hold")
    assert (told.number, [out.number for out in told.left_out]) == (1, [1])
    done = await desk.do("hold", Search(destination="one.test"))
    assert (done.done, done.failed) == (1, 1)
    assert "report of our own" in done.remarks[0]


@pytest.mark.parametrize("act", ["retry", "hold", "bounce"])
async def test_what_is_being_delivered_is_left_alone(desk: Desk, act: str) -> None:
    await desk.put("m1")
    await desk.put("m2")
    before = await desk.spool.find("m1")
    with await desk.spool.lease("m1", "queue"):
        done = await desk.do(act, Search(account="example.org"))
    assert (done.done, done.failed) == (1, 1)
    assert done.remarks == ["m1 is being delivered right now; try again"]
    assert await desk.spool.find("m1") == before
    assert not await desk.reports() or act == "bounce"
    assert not desk.history("m1").deliveries
    assert not desk.history("m1").changes


@pytest.mark.parametrize("act", ["retry", "hold", "bounce"])
async def test_what_was_delivered_or_answered_otherwise_meanwhile_is_left_alone(desk: Desk, act: str) -> None:
    """Between the list and the act."""
    for id_ in ("m1", "m2", "m3"):
        await desk.put(id_, progress=Progress(attempts=1, due=NOW + 60, replies={"x@one.test": FULL}))
    meant = Search(reply="mailbox is full")
    rows, _ = await desk.queue.meant(meant)
    assert len(rows) == 3
    await desk.spool.remove("m1")
    desk.spool.files.save("m2", Progress(attempts=2, due=NOW + 90, replies={"x@one.test": GREY}))
    messages = [(one.id, one.size) for one in rows]
    done = await desk.queue.acts.carry_out(meant, messages, act, by="test", reason="")  # type: ignore[arg-type]
    assert (done.done, done.gone, done.failed) == (1, 2, 0)
    assert (await desk.spool.find("m2"))[1].due == NOW + 90


async def test_what_is_held_or_in_quarantine_is_none_of_the_queues_business(desk: Desk) -> None:
    entry = await desk.put("m1")
    await desk.spool.move("m1", "quarantine")
    for act in ("retry", "hold", "bounce"):
        done = await desk.queue.acts.carry_out(("m1",), [("m1", 0)], act, by="test", reason="")  # type: ignore[arg-type]
        assert (done.done, done.gone) == (0, 1)
        assert done.remarks == ["m1 is not queued: it is in quarantine"]
    assert (await desk.spool.find("m1"))[::2] == (entry_of(entry), "quarantine")
    with pytest.raises(DeskError, match="in quarantine"):
        await desk.queue.show(None, "m1")


def entry_of(entry: Entry) -> Entry:
    """As the spool has it."""
    return msgspec.structs.replace(entry, size=len(CONTENT))


@pytest.mark.parametrize("id_", ["", "..", "../../../etc/passwd", "m1/../m1", "m1\0", "nobody", "M" * 80])
async def test_no_id_leads_out_of_the_spool(desk: Desk, id_: str) -> None:
    await desk.put("m1")
    with pytest.raises(DeskError, match="no queued message"):
        await desk.queue.show(None, id_)
    done = await desk.queue.acts.carry_out((id_,), [(id_, 0)], "bounce", by="test", reason="")
    assert (done.done, done.gone) == (0, 1)


@pytest.mark.parametrize("act", ["retry", "hold", "bounce"])
async def test_an_empty_search_is_refused(desk: Desk, act: str) -> None:
    await desk.put("m1")
    for meant in (Search(), (), Search(reply=" "), Search(account="\t", since=-1.0)):
        with pytest.raises(DeskError, match=_SAY):
            await desk.queue.preview(meant, act)  # type: ignore[arg-type]
        with pytest.raises(DeskError, match=_SAY):
            await desk.queue.place(meant, act, by="test")  # type: ignore[arg-type]
        with pytest.raises(DeskError, match=_SAY):
            await desk.queue.acts.carry_out(meant, [("m1", 1)], act, by="test", reason="")  # type: ignore[arg-type]
    desk.opened.keep()
    assert desk.audit() == []
    assert (await desk.spool.find("m1"))[2] == "queue"


async def test_one_act_has_one_entry_in_the_audit(desk: Desk) -> None:
    for number in range(150):
        await desk.put(f"m{number:03}")
    done = await desk.do("bounce", Search(account="example.org", reply=""), "closed")
    assert (done.done, done.number, done.state) == (150, 150, "done")
    assert desk.audit() == [("console:ann", "queue.bounce", "", "150 messages: account example.org; closed")]
    assert len(await desk.reports()) == 150


async def test_the_index_sees_what_changes(desk: Desk) -> None:
    index = Index(desk.spool, desk.clock)
    await desk.put("m1")
    await desk.put("m2", progress=Progress(attempts=1, due=NOW + 60, replies={"x@one.test": GREY}))
    index.look()
    known = await index.known()
    first = known.rows
    assert list(first) == ["m1", "m2"]
    assert known.complete
    desk.spool.files.save("m2", Progress(attempts=2, due=NOW + 90, replies={"x@one.test": FULL}))
    await desk.spool.move("m1", "incoming")
    await desk.put("m0")
    index.look()
    rows = (await index.known()).rows
    assert list(rows) == ["m0", "m1", "m2"]
    assert (rows["m2"].attempts, rows["m2"].answers[0].class_) == (2, "mailbox_full")
    # What has not changed is not read again; who looks at the old list is not disturbed.
    index.look()
    assert (await index.known()).rows["m2"] is rows["m2"]
    assert first["m2"].attempts == 1
    await desk.spool.remove("m0")
    await desk.spool.move("m2", "held", due=0.0)
    index.look()
    assert list((await index.known()).rows) == ["m1"]


async def test_a_message_to_very_many_is_found_by_the_last_of_them(desk: Desk) -> None:
    many = tuple(f"n{number}@one.test" for number in range(500))
    await desk.put("m1", *many, "last@two.test")
    found = await desk.queue.page(Search(destination="two.test"))
    assert [one.id for one in found.items] == ["m1"]
    assert len(found.items[0].recipients) < 50
    assert found.items[0].number == 501
    assert (await desk.queue.page(Search(recipient="LAST@two.test"))).summary.number == 1
    await desk.do("bounce", Search(destination="two.test"))
    assert (await desk.spool.find("m1"))[1].remaining == many


async def test_pages_follow_each_other(desk: Desk) -> None:
    for number in range(7):
        await desk.put(f"m{number}")
    first = await desk.queue.page(Search(), limit=5)
    second = await desk.queue.page(Search(), offset=first.next or 0, limit=5)
    assert [one.id for one in (*first.items, *second.items)] == [f"m{number}" for number in range(7)]
    assert (first.summary.number, second.next) == (7, None)


async def test_one_message_shows_why_it_waits(desk: Desk) -> None:
    replies = {"x@one.test": GREY}
    progress = Progress(attempts=3, due=NOW + 60, since=NOW - 100, remaining=("x@one.test",), replies=replies)
    await desk.put("m1", "w@one.test", "x@one.test", progress=progress)
    told = await desk.queue.show(desk.opened.ledger, "m1")
    assert [(one.recipient, one.state, one.class_) for one in told.recipients] == [
        ("w@one.test", "settled", ""),
        ("x@one.test", "waiting", "greylisting"),
    ]
    assert told.recipients[1].advice
    assert (told.expires, told.report_to) == (NOW - 100 + 86400, "a@example.org")
    assert (told.message.attempts, told.message.due) == (3, NOW + 60)


async def test_a_crash_of_the_disk_leaves_the_message_where_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.put("m1")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for act in ("retry", "hold", "bounce"):
        with monkeypatch.context() as patched:
            patched.setattr(desk.spool.files, "save", full)
            patched.setattr(durable, "place", full)
            done = await desk.do(act, ("m1",))
        assert (done.done, done.failed) == (0, 1)
        assert "No space left" in done.remarks[0]
        assert (await desk.spool.find("m1"))[2] == "queue"
    # The last word about the recipient is that it is not final.
    assert not desk.history("m1").deliveries[-1]["final"]
    assert await held_list(desk.opened.ledger, Filters()) == []
