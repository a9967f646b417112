"""Decisions about more messages than one person decides about alone: confirmed by another, refused, expired."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held import bulk
from outbound_guard.desk.held.bulk import Eyes
from outbound_guard.desk.held.bulk_work import Work
from outbound_guard.ledger import bulk_queries, tables
from outbound_guard.ledger.bulk_queries import Bulk
from outbound_guard.ledger.records import BulkChange, UserChange
from outbound_guard.spool import Spool
from tests.records import Books, books, decision

EYES = Eyes(2, 600.0)


class Desk:
    """Three held messages, and who decides about them."""

    def __init__(self, opened: Books, clock: VirtualClock) -> None:
        self.opened, self.clock = opened, clock
        opened.keep(*(decision(f"m{n}", received=clock.now()) for n in range(3)))

    async def place(self, *ids: str, by: str = "console:ann", eyes: Eyes = EYES, **more: Any) -> Bulk:
        placed = await bulk.place(
            self.opened.ledger,
            self.opened.journal,
            self.clock,
            ids or ("m0", "m1", "m2"),
            "release",
            by=by,
            person=by.partition(":")[2],
            eyes=eyes,
            **more,
        )
        self.opened.keep()
        return placed

    async def confirm(self, id_: str, person: str, by: str = "") -> Bulk:
        found = await bulk.confirm(
            self.opened.ledger, self.opened.journal, self.clock, id_, person=person, by=by or f"console:{person}"
        )
        self.opened.keep()
        return found

    async def refuse(self, id_: str, person: str, reason: str = "") -> Bulk:
        by = f"console:{person}"
        found = await bulk.refuse(self.opened.ledger, self.opened.journal, self.clock, id_, by=by, reason=reason)
        self.opened.keep()
        return found

    async def state(self, id_: str) -> str:
        return (await bulk.progress(self.opened.ledger, id_)).state

    def audit(self) -> list[str]:
        with self.opened.ledger.connection() as connection:
            return [row.what for row in connection.execute(tables.audit.select().order_by(tables.audit.c.serial))]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


@pytest.fixture
def desk(tmp_path: Path, clock: VirtualClock) -> Iterator[Desk]:
    with books(tmp_path, clock) as opened:
        yield Desk(opened, clock)


async def test_few_messages_need_one_person(desk: Desk) -> None:
    assert (await desk.place("m0", "m1")).state == "placed"


async def test_with_the_option_off_nothing_waits(desk: Desk) -> None:
    assert (await desk.place(eyes=Eyes(0))).state == "placed"


async def test_many_wait_for_somebody_else(desk: Desk, clock: VirtualClock) -> None:
    placed = await desk.place(delay=30.0)
    assert (placed.state, placed.person, placed.due) == ("waiting", "ann", clock.now() + 600)
    assert await desk.state(placed.id) == "waiting"
    with pytest.raises(DeskError, match="somebody else"):
        await desk.confirm(placed.id, "ann", by="token:anns-script")
    # What waits is in no second decision meanwhile.
    with pytest.raises(DeskError, match="in another decision"):
        await desk.place()
    clock.set(clock.now() + 60)
    confirmed = await desk.confirm(placed.id, "bob")
    assert (confirmed.state, confirmed.due, confirmed.confirmed_by) == ("placed", clock.now() + 30, "console:bob")
    found = await bulk.progress(desk.opened.ledger, placed.id)
    assert (found.state, found.due, found.confirmed_by) == ("placed", clock.now() + 30, "console:bob")
    assert desk.audit() == ["bulk.release", "bulk.confirmed"]
    # Half a minute is left to think again.
    await bulk.undo(desk.opened.ledger, desk.opened.journal, clock, placed.id, by="console:ann")
    desk.opened.keep()
    assert await desk.state(placed.id) == "undone"


async def test_nobody_is_made_the_second_person_afterwards(desk: Desk, clock: VirtualClock) -> None:
    def changed(name: str, what: str, **more: str) -> UserChange:
        return UserChange(name=name, time=clock.now(), what=what, **more)

    for name in ("bob", "cal", "dan"):
        desk.opened.keep(changed(name, "added", role="operator", password="x"))
    clock.set(clock.now() + 60)
    placed = await desk.place()
    clock.set(clock.now() + 60)
    desk.opened.keep(
        changed("eve", "added", role="operator", password="y"),
        changed("bob", "password", password="y"),
        changed("cal", "role", role="admin"),
    )
    for name in ("eve", "bob", "cal"):
        with pytest.raises(DeskError, match="after it was decided"):
            await desk.confirm(placed.id, name)
    assert (await desk.confirm(placed.id, "dan")).state == "placed"


async def test_it_can_be_refused_and_then_not_confirmed(desk: Desk) -> None:
    placed = await desk.place()
    assert (await desk.refuse(placed.id, "bob", "not these")).state == "refused"
    with pytest.raises(DeskError, match="it is refused"):
        await desk.confirm(placed.id, "eve")
    assert (await desk.place()).state == "waiting", "the messages are free again"


async def test_who_has_decided_can_take_it_back(desk: Desk, clock: VirtualClock) -> None:
    placed = await desk.place()
    await bulk.undo(desk.opened.ledger, desk.opened.journal, clock, placed.id, by="console:ann")
    desk.opened.keep()
    assert await desk.state(placed.id) == "undone"
    with pytest.raises(DeskError, match="it is undone"):
        await desk.confirm(placed.id, "bob")


async def test_without_a_second_person_it_expires_and_releases_nothing(
    desk: Desk, clock: VirtualClock, tmp_path: Path
) -> None:
    placed = await desk.place()
    spool = Spool(tmp_path / "spool", clock, free_bytes=0)

    async def settled() -> bool:
        desk.opened.keep()
        return True

    work = Work(
        desk.opened.ledger,
        spool,
        desk.opened.journal,
        clock,
        hostname="guard.test",
        settled=settled,
        teaching=lambda by, say: pytest.fail("nothing is taught"),
    )
    assert await work.once() == 0
    clock.set(clock.now() + 600)
    with pytest.raises(DeskError, match="has expired"):
        await desk.confirm(placed.id, "bob")
    assert await work.once() == 1
    desk.opened.keep()
    found = await bulk.progress(desk.opened.ledger, placed.id)
    assert (found.state, found.counts) == ("expired", {"pending": 3})
    assert await work.once() == 0


@pytest.mark.parametrize("later", ["refused", "expired", "placed"])
async def test_of_two_answers_the_first_holds(desk: Desk, clock: VirtualClock, later: str) -> None:
    placed = await desk.place()
    await desk.confirm(placed.id, "bob")
    now = clock.now()
    desk.opened.keep(BulkChange(id=placed.id, time=now + 1, state=later, by="console:eve", due=now + 999))
    found = await bulk.progress(desk.opened.ledger, placed.id)
    assert (found.state, found.confirmed_by) == ("placed", "console:bob")


async def test_what_was_not_confirmed_does_not_run(desk: Desk, clock: VirtualClock) -> None:
    placed = await desk.place()
    desk.opened.keep(BulkChange(id=placed.id, time=clock.now(), state="running"))
    assert await desk.state(placed.id) == "waiting"
    assert bulk_queries.due(desk.opened.ledger, clock.now() + 1) == []


async def test_a_user_of_the_provider_and_one_with_a_password_may_be_one_person(
    desk: Desk, clock: VirtualClock
) -> None:
    provided = {"what": "provided", "role": "operator", "issuer": "https://sso.example", "shown": ""}
    desk.opened.keep(
        *(UserChange(time=1.0, name=name, what="added", role="operator", password="x") for name in ("ann", "bob")),
        *(UserChange(time=1.0, name=name, subject=name, **provided) for name in ("ann-sso", "bob-sso")),
    )
    for decides, may, other in (("ann", "bob", "ann-sso"), ("ann-sso", "bob-sso", "bob")):
        placed = await desk.place(by=f"console:{decides}")
        with pytest.raises(DeskError, match=f"of {other} and {decides} one signs in with a password"):
            await desk.confirm(placed.id, other)
        assert await desk.state(placed.id) == "waiting"
        await desk.confirm(placed.id, may)
        assert await desk.state(placed.id) == "placed"
        await bulk.undo(desk.opened.ledger, desk.opened.journal, clock, placed.id, by="console:bob")
        desk.opened.keep()
