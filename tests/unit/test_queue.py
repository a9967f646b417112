"""The queue, with real files and a clock that the test sets."""

import asyncio
import email
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from unittest.mock import AsyncMock

import msgspec
import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Delivery
from outbound_guard.delivery.lane import Lane
from outbound_guard.delivery.queue import Queue
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.turn import FINE, Outlook, Turn
from outbound_guard.desk.held.acts import perform
from outbound_guard.mail import Asked, Envelope, Verdict, new_id
from outbound_guard.reply import NO_NEXT_HOP, Reply
from outbound_guard.spool import Busy, Entry, NotInSpool, Spool, SpoolFull, SpoolInUse, State

NOW = 1_800_000_000.0
OK, LATER, NEVER = Reply(250, "2.0.0", "ok"), Reply(451, "4.3.0", "later"), Reply(550, "5.1.1", "never")
DAY = 86_400.0


class House:
    """A spool, a queue on it, and a next hop whose replies the test decides."""

    def __init__(self, directory: Path, concurrency: int = 50) -> None:
        self.clock = VirtualClock(NOW)
        self.spool = Spool(directory / "spool", self.clock, 0)
        self.replies: dict[str, Reply] = {}
        self.delivered: list[tuple[str, tuple[str, ...], bytes]] = []
        self.results: list[tuple[str, str, int, bool]] = []
        self.reviews: list[tuple[str, str]] = []
        self.verdict = Verdict("hold", 0.0, "test", ())
        self.convicted: set[str] = set()
        self.place, self.outlook, self.reached = "", FINE, True
        self.relayed: set[str] = set()
        self.delay_warning = 0.0
        self.before_reply: Callable[[], Awaitable[None]] | None = None
        self.queue = self.new_queue(concurrency)

    def new_queue(self, concurrency: int = 50) -> Queue:
        return Queue(
            self.spool,
            self.deliver,
            delivery=Delivery(retry=(5, 30), expiry=100, delay_warning=self.delay_warning),
            hold_expiry=7 * DAY,
            clock=self.clock,
            hostname="guard.example.net",
            review=self.review,
            stopped=lambda entry: entry.sender in self.convicted,
            on_results=lambda e, outcomes: self.results.extend(
                (e.id, one.recipient, one.reply.code, one.final) for one in outcomes
            ),
            on_review=lambda e, verdict, outcome: self.reviews.append((e.id, outcome)),
            destination=lambda *_: self.place,
            outlook=lambda _: self.outlook,
            concurrency=concurrency,
            wait=self.wait,
            jitter=lambda: 0.0,
        )

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await self.queue.settled()
        await asyncio.sleep(0)
        if not event.is_set():
            self.clock.advance(seconds)

    async def deliver(self, envelope: Envelope, content: Sequence[bytes]) -> Result:
        if self.before_reply:
            await self.before_reply()
        if not self.reached:
            return Result((NO_NEXT_HOP,) * len(envelope.recipients), "", reached=False)
        replies = tuple(self.replies.get(r, OK) for r in envelope.recipients)
        self.delivered.append((envelope.mail_from, envelope.recipients, b"".join(content)))
        relayed = tuple(place for place, to in enumerate(envelope.recipients) if to in self.relayed)
        return Result(replies, "127.0.0.1:25", relayed=relayed)

    async def review(self, entry: Entry, content: bytes) -> Verdict:
        return self.verdict

    async def put(self, *recipients: str, state: State = "incoming", **fields: object) -> Entry:
        entry = Entry(
            new_id(self.clock.now()), self.clock.now(), Envelope("a@example.com", recipients), bounce_to="a@example.com"
        )
        entry = msgspec.structs.replace(entry, **fields)
        await self.spool.put(entry, [b"Subject: x\r\n\r\n", entry.id.encode()], state)
        return entry

    async def turns(self, seconds: float = 0.0) -> None:
        """Let the queue turn until nothing is due, move the clock to the next due time, and so on."""
        end = self.clock.now() + seconds
        while True:
            for _ in range(3):
                await self.queue.turn()
                await self.queue.settled()
            times = [lane.next_due() for lane in (self.queue.deliveries, self.queue.reviews)]
            due = min([time for time in times if time is not None], default=end)
            if due >= end:
                self.clock.set(end)
                return
            self.clock.set(max(due, self.clock.now()))

    async def counts(self) -> dict[str, int]:
        return {state: count for state, count in (await self.spool.counts()).items() if count}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    house.spool.close()


async def test_what_is_due_is_delivered_as_it_was_spooled_and_leaves_the_spool(house: House) -> None:
    entry = await house.put("b@example.net", "c@example.org")
    await house.turns()
    content = b"Subject: x\r\n\r\n" + entry.id.encode()
    assert house.delivered == [("a@example.com", ("b@example.net", "c@example.org"), content)]
    assert house.results == [(entry.id, "b@example.net", 250, True), (entry.id, "c@example.org", 250, True)]
    assert await house.counts() == {}


async def test_queued_mail_of_a_sender_convicted_meanwhile_is_pulled_back(house: House) -> None:
    house.replies["b@example.net"] = LATER
    bad = await house.put("b@example.net", sender="eve@example.com")
    good = await house.put("c@example.net", sender="anna@example.com")
    await house.turns()
    house.convicted.add("eve@example.com")
    house.replies.clear()
    await house.turns(60)
    assert [recipients for _, recipients, _ in house.delivered].count(("b@example.net",)) == 1
    assert [entry.id for entry in house.spool.entries("quarantine")] == [bad.id]
    assert (bad.id, "quarantined") in house.reviews
    assert good.id not in [id_ for id_, _ in house.reviews]


async def test_what_a_person_released_goes_out_whatever_became_of_its_sender(house: House) -> None:
    house.convicted.add("eve@example.com")
    entry = await house.put("b@example.net", sender="eve@example.com")
    await house.turns()
    assert [one.id for one in house.spool.entries("quarantine")] == [entry.id]
    with await house.spool.lease(entry.id, "quarantine") as message:
        await perform("release", house.spool, message, house.clock.now(), "guard.example.net")
    await house.turns()
    assert [recipients for _, recipients, _ in house.delivered] == [("b@example.net",)]
    assert await house.counts() == {}


async def test_what_is_not_due_waits(house: House) -> None:
    await house.put("b@example.net", due=NOW + 10)
    await house.turns(9.9)
    assert house.delivered == []
    assert await house.counts() == {"queue": 1}
    await house.turns(1)
    assert len(house.delivered) == 1


async def test_only_who_is_left_is_tried_again(house: House) -> None:
    house.replies = {"c@example.org": LATER}
    await house.put("b@example.net", "c@example.org")
    await house.turns(6)
    assert [recipients for _, recipients, _ in house.delivered] == [
        ("b@example.net", "c@example.org"),
        ("c@example.org",),
    ]
    house.replies = {}
    await house.turns(40)
    assert len(house.delivered) == 3
    assert await house.counts() == {}


async def test_a_refused_recipient_leads_to_a_bounce_with_the_null_sender(house: House) -> None:
    house.replies = {"c@example.org": NEVER}
    entry = await house.put("b@example.net", "c@example.org")
    await house.turns()
    (_, _, _), (mail_from, recipients, content) = house.delivered
    assert (mail_from, recipients) == ("", ("a@example.com",))
    report = email.message_from_bytes(content)
    assert report.get_content_type() == "multipart/report"
    assert f"X-Outbound-Guard-Id: {entry.id}".encode() in content
    assert b"Final-Recipient: rfc822; c@example.org" in content
    assert b"b@example.net" not in content
    assert await house.counts() == {}


def report_in(house: House) -> list[tuple[str, tuple[str, ...], str]]:
    """Reports that were delivered: from whom, to whom, and the action of their first recipient."""
    found = []
    for mail_from, recipients, content in house.delivered:
        message = email.message_from_bytes(content)
        if message.get_content_type() == "multipart/report":
            _, status, _ = message.get_payload()  # type: ignore[misc]
            found.append((mail_from, recipients, str(status.get_payload()[1]["Action"])))  # type: ignore[union-attr,index]
    return found


async def test_where_nobody_else_reports_success_we_do(house: House) -> None:
    """RFC 3461 5.2.2."""
    house.relayed = {"b@example.net"}
    asked = {to: Asked(("SUCCESS",)) for to in ("b@example.net", "c@example.net")}
    await house.put(envelope=Envelope("a@example.com", tuple(asked), asked=asked))
    await house.turns()
    assert report_in(house) == [("", ("a@example.com",), "relayed")]
    assert b"b@example.net" in house.delivered[1][2]
    assert b"c@example.net" not in house.delivered[1][2]
    assert await house.counts() == {}


async def test_that_it_takes_long_is_reported_once_also_across_a_restart(house: House) -> None:
    house.delay_warning = 50.0
    house.queue = house.new_queue()
    house.replies["b@example.net"] = LATER
    await house.put("b@example.net")
    await house.turns(40)
    assert report_in(house) == []
    await house.turns(30)
    assert report_in(house) == [("", ("a@example.com",), "delayed")]
    await house.queue.settled()
    house.queue = house.new_queue()
    await house.turns(20)
    assert len(report_in(house)) == 1
    await house.turns(60)
    assert [action for _, _, action in report_in(house)] == ["delayed", "failed"]


async def test_a_disk_without_room_for_a_warning_does_not_stop_delivery(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.delay_warning = 50.0
    house.queue = house.new_queue()
    house.replies["b@example.net"] = LATER
    await house.put("b@example.net")
    await house.turns(40)
    monkeypatch.setattr(house.spool, "put", AsyncMock(side_effect=SpoolFull("no room")))
    await house.turns(30)
    monkeypatch.undo()
    house.replies.clear()
    await house.turns(30)
    assert report_in(house) == []
    assert house.results[-1][2:] == (250, True)
    assert await house.counts() == {}


async def test_after_expiry_it_is_given_up_with_a_bounce(house: House) -> None:
    house.replies = {"b@example.net": LATER}
    entry = await house.put("b@example.net")
    await house.turns(101)
    tries = [recipients for _, recipients, _ in house.delivered]
    # At 0, 5, 35, 65, 95 and, for the last time, 100 seconds.
    assert tries == [("b@example.net",)] * 6 + [("a@example.com",)]
    assert b"Status: 4.4.7" in house.delivered[-1][2]
    assert (entry.id, "b@example.net", 451, True) in house.results
    assert await house.counts() == {}


@pytest.mark.parametrize("fields", [{"bounce_to": ""}, {"envelope": Envelope("", ("b@example.net",))}])
async def test_no_bounce_to_the_null_sender_or_to_a_sender_the_account_does_not_own(
    house: House, fields: dict[str, object]
) -> None:
    house.replies = {"b@example.net": NEVER}
    entry = await house.put("b@example.net", **fields)
    await house.turns(1)
    assert len(house.delivered) == 1
    assert house.results == [(entry.id, "b@example.net", 550, True)]
    assert await house.counts() == {}


async def test_a_bounce_that_is_refused_makes_no_bounce(house: House) -> None:
    house.replies = {"b@example.net": NEVER, "a@example.com": NEVER}
    await house.put("b@example.net")
    await house.turns(200)
    assert len(house.delivered) == 2
    assert await house.counts() == {}


async def test_an_error_of_ours_while_delivering_is_a_temporary_failure(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise RuntimeError("a bug")

    house.before_reply = fail
    entry = await house.put("b@example.net")
    await house.turns()
    assert house.results == [(entry.id, "b@example.net", 451, False)]
    assert "a bug" in caplog.text
    house.before_reply = None
    await house.turns(6)
    assert house.results[-1] == (entry.id, "b@example.net", 250, True)


async def test_what_waits_for_a_destination_counts_no_try_and_expires_all_the_same(house: House) -> None:
    house.place, house.outlook = "away.test", Outlook(wait=1e6)
    entry = await house.put("b@example.net")
    await house.turns(99)
    assert house.delivered == []
    assert (await house.spool.find(entry.id))[1].attempts == 0
    house.replies["b@example.net"] = LATER
    await house.turns(2)
    assert [recipients for _, recipients, _ in house.delivered][:1] == [("b@example.net",)]
    assert house.results[-1] == (entry.id, "b@example.net", 451, True)


async def test_when_a_destination_answers_what_found_nobody_there_is_due_at_once(house: House) -> None:
    house.place, house.reached = "there.test", False
    first = await house.put("b@example.net")
    await house.turns()
    assert house.results == [(first.id, "b@example.net", 451, False)]
    house.reached = True
    await house.put("c@example.net")
    await house.turns()
    assert [one[1:] for one in house.results[1:]] == [("c@example.net", 250, True), ("b@example.net", 250, True)]


async def test_a_fault_of_ours_is_not_repeated_because_others_are_delivered(house: House) -> None:
    house.place = "there.test"

    async def fail() -> None:
        raise RuntimeError("a bug")

    house.before_reply = fail
    first = await house.put("b@example.net")
    await house.turns()
    house.before_reply = None
    await house.put("c@example.net")
    await house.turns()
    assert [one[:2] for one in house.results] == [(first.id, "b@example.net"), (house.results[1][0], "c@example.net")]
    await house.turns(10)
    assert await house.counts() == {}


async def test_what_a_person_lets_go_is_tried_whatever_is_known_of_its_destination(house: House) -> None:
    house.place, house.outlook = "away.test", Outlook(wait=1e6)
    entry = await house.put("b@example.net")
    await house.turns(10)
    assert house.delivered == []
    await house.spool.move(entry.id, "incoming", frm="queue")
    await house.turns()
    assert len(house.delivered) == 1


async def test_a_listener_that_raises_changes_nothing(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the ledger is down")

    house.queue._on_results = fail
    await house.put("b@example.net", "c@example.org")
    await house.turns()
    assert caplog.text.count("could not be told") == 1
    assert await house.counts() == {}


@pytest.mark.parametrize(("error", "shown"), [(OSError(28, "No space left on device"), 0), (RuntimeError("oh"), 1)])
async def test_what_the_disk_refuses_while_held_mail_is_looked_at_is_one_line_and_done_again(
    house: House, caplog: pytest.LogCaptureFixture, error: Exception, shown: int
) -> None:
    async def failing(id_: str) -> None:
        raise error

    lane = Lane(failing, 10, house.clock)
    lane.agenda.put("m1", Turn(house.clock.now()))
    lane.start_due()
    await lane.settled()
    assert str(error) in caplog.text
    assert caplog.text.count("Traceback") == shown
    assert (lane.next_due() or 0) > house.clock.now()


async def test_no_more_than_the_allowed_number_at_a_time_and_all_get_their_turn(tmp_path: Path) -> None:
    house = House(tmp_path, concurrency=3)
    at_a_time = most = 0
    three = asyncio.Barrier(3)

    async def count() -> None:
        nonlocal at_a_time, most
        at_a_time += 1
        most = max(most, at_a_time)
        # Nobody is answered before three are on their way; a fourth would be counted meanwhile.
        await asyncio.wait_for(three.wait(), 30)
        at_a_time -= 1

    house.before_reply = count
    for i in range(21):
        await house.put(f"r{i}@example.net")
    await house.turns()
    assert len(house.delivered) == 21
    assert most == 3
    house.spool.close()


async def test_of_large_messages_fewer_are_in_memory_at_a_time(tmp_path: Path) -> None:
    house = House(tmp_path, concurrency=4)
    at_a_time = most = 0
    two = asyncio.Barrier(2)

    async def count() -> None:
        nonlocal at_a_time, most
        at_a_time += 1
        most = max(most, at_a_time)
        await asyncio.wait_for(two.wait(), 30)
        at_a_time -= 1

    house.before_reply = count
    for _ in range(6):
        entry = Entry(new_id(NOW), NOW, Envelope("a@example.com", ("b@example.net",)))
        await house.spool.put(entry, [bytes(5_000_000)], "incoming")
    await house.turns()
    assert len(house.delivered) == 6
    assert most == 2
    house.spool.close()


async def test_what_a_wrong_clock_put_off_for_years_goes_when_it_is_set_right(house: House) -> None:
    house.clock.set(NOW + 3650 * DAY)
    house.replies = {"b@example.net": LATER}
    await house.put("b@example.net")
    await house.turns()
    assert len(house.delivered) == 1
    house.clock.set(NOW)
    house.replies = {}
    await house.turns()
    assert len(house.delivered) == 2
    assert await house.counts() == {}


async def test_while_a_destination_cannot_be_named_nobody_gets_a_message_twice(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.put("b@example.net")

    def fail(*_: object) -> str:
        raise RuntimeError("no class is known")

    async def before_reply() -> None:
        monkeypatch.setattr(house.queue, "_destination", fail)

    house.before_reply = before_reply
    await house.turns(200)
    assert len(house.delivered) == 1
    assert await house.counts() == {}


async def test_deletions_that_cannot_be_made_safe_double_nothing_while_the_power_stays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("outbound_guard.spool.spool._UNSYNCED", 1)
    monkeypatch.setattr(house.spool.files, "sync", fail)
    for number in range(10):
        await house.put(f"{number}@example.net")
    await house.turns(400)
    assert len(house.delivered) == 10
    assert await house.counts() == {}


async def test_a_new_queue_finds_what_the_dead_one_had_claimed(house: House) -> None:
    house.replies = {"c@example.org": LATER}
    await house.put("b@example.net", "c@example.org")
    await house.turns()
    house.queue = house.new_queue()
    house.replies = {}
    await house.turns(10)
    assert [recipients for _, recipients, _ in house.delivered] == [
        ("b@example.net", "c@example.org"),
        ("c@example.org",),
    ]
    assert await house.counts() == {}


async def test_while_the_disk_fails_nobody_gets_a_message_twice(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.replies = {"c@example.org": LATER, "d@example.org": NEVER}
    await house.put("b@example.net", "c@example.org", "d@example.org")
    await house.put("e@example.net")
    open_ = os.open

    def fail(path: object, flags: int, *others: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device")
        return open_(path, flags, *others)  # type: ignore[call-overload]

    def fail_unlink(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        await house.queue.turn()
        await house.queue.deliveries.cancel()
        house.queue = house.new_queue()
        broken.setattr(os, "open", fail)
        broken.setattr(os, "unlink", fail_unlink)
        await house.turns(20)
        await house.turns(70)
        seen = [r for _, recipients, _ in house.delivered for r in recipients]
        assert [seen.count(r) for r in ("b@example.net", "d@example.org", "e@example.net")] == [1, 1, 1]
        assert seen.count("c@example.org") > 1
        assert await house.counts() == {"queue": 2}
    house.replies = {}
    await house.turns(40)
    assert [recipients for _, recipients, _ in house.delivered].count(("a@example.com",)) == 1
    assert await house.counts() == {}


@pytest.mark.parametrize(("others", "call"), [(("d@example.org",), "put_all"), ((), "put_all"), ((), "unlink")])
async def test_a_crash_after_a_failed_bounce_or_removal_doubles_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...], call: str
) -> None:
    house.replies = {"c@example.org": NEVER, "d@example.org": LATER}
    await house.put("b@example.net", "c@example.org", *others)

    def fail(*_: object, **__: object) -> None:
        raise SpoolFull(errno.ENOSPC, "No space left on device")

    await house.queue.turn()
    await house.queue.deliveries.cancel()
    house.queue = house.new_queue()
    with monkeypatch.context() as broken:
        broken.setattr(house.spool.files, call, fail)
        await house.queue.turn()
        await house.queue.settled()
    house.queue = house.new_queue()
    house.replies = {}
    await house.turns(60)
    seen = [r for _, recipients, _ in house.delivered for r in recipients]
    assert [seen.count(r) for r in ("b@example.net", "c@example.org", "a@example.com")] == [1, 1, 1]
    assert await house.counts() == {}


async def test_what_a_person_holds_or_deletes_is_not_delivered(house: House) -> None:
    one, two = await house.put("b@example.net", due=NOW + 5), await house.put("c@example.net", due=NOW + 5)
    await house.turns()
    await house.spool.move(one.id, "held", due=0)
    await house.spool.remove(two.id)
    await house.turns(200)
    assert house.delivered == []
    assert await house.counts() == {"held": 1}
    await house.spool.move(one.id, "incoming", frm="held")
    await house.turns()
    assert [recipients for _, recipients, _ in house.delivered] == [("b@example.net",)]


async def test_a_message_in_flight_cannot_be_taken_away(house: House) -> None:
    entry = await house.put("b@example.net")

    async def interfere() -> None:
        with pytest.raises(Busy):
            await house.spool.move(entry.id, "held", frm="queue")

    house.before_reply = interfere
    await house.turns()
    assert len(house.delivered) == 1
    assert await house.counts() == {}


async def test_run_delivers_stops_when_told_and_is_alone(house: House) -> None:
    done = asyncio.Event()
    house.queue._wait = lambda event, seconds: event.wait()  # type: ignore[assignment,return-value]
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def hold_up() -> None:
        inside.set()
        await go_on.wait()
        done.set()

    house.before_reply = hold_up
    await house.put("b@example.net")
    running = asyncio.create_task(house.queue.run())
    await inside.wait()
    with pytest.raises(SpoolInUse):
        await house.new_queue().run()
    await house.put("c@example.net", due=NOW + 1000)
    house.queue.nudge()
    house.queue.stop()
    go_on.set()
    await running
    # What was in flight was finished.
    assert done.is_set()
    assert [recipients for _, recipients, _ in house.delivered] == [("b@example.net",)]


async def test_run_cancelled_breaks_off_and_the_next_one_begins_again(house: House) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        inside.set()
        await asyncio.Event().wait()

    house.before_reply = hang
    house.queue._wait = lambda event, seconds: event.wait()  # type: ignore[assignment,return-value]
    await house.put("b@example.net")
    running = asyncio.create_task(house.queue.run())
    await inside.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    house.before_reply = None
    house.queue = house.new_queue()
    await house.turns()
    assert len(house.delivered) == 1


async def test_run_in_virtual_time_goes_through_the_whole_schedule(house: House) -> None:
    house.replies = {"b@example.net": LATER}
    await house.put("b@example.net", due=NOW + 3)

    async def stop_after_the_bounce() -> None:
        if len(house.delivered) == 6:
            house.queue.stop()

    house.before_reply = stop_after_the_bounce
    await house.queue.run()
    assert house.delivered[-1][1] == ("a@example.com",)
    assert house.clock.now() < NOW + 110


class TestHeld:
    """Held mail, when its time comes."""

    async def test_before_its_time_nothing_happens(self, house: House) -> None:
        await house.put("b@example.net", state="held", due=NOW + 900)
        house.verdict = Verdict("relay", 0.0, "clean", ())
        await house.turns(899)
        assert house.reviews == []
        await house.turns(10)
        assert [outcome for _, outcome in house.reviews] == ["released"]
        await house.turns()
        assert len(house.delivered) == 1
        assert await house.counts() == {}

    async def test_released_mail_that_is_old_is_not_expired_at_once(self, house: House) -> None:
        house.replies = {"b@example.net": LATER}
        await house.put("b@example.net", state="held", due=NOW + 500)
        house.verdict = Verdict("relay", 0.0, "clean", ())
        await house.turns(510)
        assert house.results[-1][2:] == (451, False)
        assert await house.counts() == {"queue": 1}

    async def test_held_again_for_a_while_then_for_a_person(self, house: House) -> None:
        await house.put("b@example.net", state="held", due=NOW + 10)
        house.verdict = Verdict("hold", 7.0, "suspect", (), wait=60)
        await house.turns(20)
        assert [outcome for _, outcome in house.reviews] == ["held"]
        house.verdict = Verdict("hold", 7.0, "suspect", ())
        await house.turns(60)
        assert [outcome for _, outcome in house.reviews] == ["held", "held"]
        await house.turns(6 * DAY)
        assert len(house.reviews) == 2
        # A restart does not forget that a person decides.
        house.queue = house.new_queue()
        await house.turns(DAY / 2)
        assert len(house.reviews) == 2
        assert await house.counts() == {"held": 1}

    async def test_quarantined(self, house: House) -> None:
        entry = await house.put("b@example.net", state="held", due=NOW + 10)
        house.verdict = Verdict("quarantine", 9.0, "spam", ())
        await house.turns(20)
        assert house.reviews == [(entry.id, "quarantined")]
        assert await house.counts() == {"quarantine": 1}

    @pytest.mark.parametrize(
        ("bounce_to", "counts", "outcome"),
        [("a@example.com", {}, "returned"), ("", {"quarantine": 1}, "quarantined")],
    )
    async def test_rejected(self, house: House, bounce_to: str, counts: dict[str, int], outcome: str) -> None:
        await house.put("b@example.net", state="held", due=NOW + 10, bounce_to=bounce_to)
        house.verdict = Verdict("reject", 9.0, "OG-SPAM", ())
        await house.turns(20)
        assert [o for _, o in house.reviews] == [outcome]
        assert [b"OG-SPAM" in content for _, _, content in house.delivered] == [True] * (outcome == "returned")
        assert await house.counts() == counts

    @pytest.mark.parametrize(
        ("bounce_to", "counts", "outcome"),
        [("a@example.com", {}, "returned"), ("", {"quarantine": 1}, "quarantined")],
    )
    async def test_what_waits_for_a_person_too_long_is_returned_or_kept_but_never_lost(
        self, house: House, bounce_to: str, counts: dict[str, int], outcome: str
    ) -> None:
        await house.put("b@example.net", state="held", due=0, bounce_to=bounce_to)
        await house.turns(7 * DAY - 10)
        assert house.reviews == []
        await house.turns(20)
        assert [o for _, o in house.reviews] == [outcome]
        assert [b"OG-HELD" in content for _, _, content in house.delivered] == [True] * (outcome == "returned")
        assert await house.counts() == counts

    async def test_a_review_that_fails_is_repeated(self, house: House, caplog: pytest.LogCaptureFixture) -> None:
        await house.put("b@example.net", state="held", due=NOW + 10)
        house.verdict = None  # type: ignore[assignment]
        await house.turns(20)
        assert "has failed" in caplog.text
        assert await house.counts() == {"held": 1}
        house.verdict = Verdict("relay", 0.0, "clean", ())
        await house.turns(70)
        await house.turns()
        assert await house.counts() == {}

    async def test_a_person_was_faster(self, house: House) -> None:
        entry = await house.put("b@example.net", state="held", due=NOW + 10)
        await house.turns()
        await house.spool.remove(entry.id, frm="held")
        await house.turns(20)
        assert house.reviews == []
        with pytest.raises(NotInSpool):
            await house.spool.find(entry.id)
