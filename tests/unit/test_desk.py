"""The desk: an act is on disk before it is done, and what a crash left half done is finished."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard import desk
from outbound_guard.clock import VirtualClock
from outbound_guard.desk import DeskError
from outbound_guard.desk.accounts.acts import Act, Forget, decide
from outbound_guard.ledger import directory_queries, queries, segments
from outbound_guard.ledger.queries import Filters
from outbound_guard.ledger.records import Audit, HeldChange, Record, Standing, decode
from outbound_guard.spool import Entry, Lease, NotInSpool, Spool
from tests.records import BOTH_LONG, SCORE, Books, books, decision, entry

LEDGERS = BOTH_LONG

CONTENT = b"Subject: Hello\r\n\r\nText\r\n"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


@pytest.fixture
async def room(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[tuple[Spool, Books]]:
    spool = Spool(tmp_path / "spool", clock, 0, threads=2)
    with books(tmp_path, clock) as opened:
        yield spool, opened
    spool.close()


async def act(
    what: str,
    opened: Books,
    clock: VirtualClock,
    scope: str,
    subject: str,
    forget: Forget | None = None,
    **more: Any,
) -> Standing:
    """One act on one sender or account; what was recorded first."""
    wanted = Act(what=what, by="ann", **more)
    return (await decide(opened.ledger, opened.journal, clock, [(scope, subject)], wanted, forget))[0]


async def hold(spool: Spool, opened: Books, id_: str = "m1", state: Any = "held") -> None:
    await spool.put(entry(id_, bounce_to="a@example.org"), [CONTENT], state)
    opened.keep(decision(id_, state=state))


def in_journal(opened: Books) -> list[Record]:
    """What is in the journal and not in the ledger yet, flushed or not."""
    records = []
    for path in sorted(opened.journal_dir.iterdir()):
        if path.suffix in (segments.OPEN, segments.SEALED):
            records += [decode(line) for line, whole in segments.lines(path.read_bytes()) if whole]
    return records


async def state_of(spool: Spool, id_: str) -> str | None:
    try:
        return (await spool.find(id_))[2]
    except NotInSpool:
        return None


@pytest.mark.parametrize("state", ["held", "quarantine"])
async def test_release(room: tuple[Spool, Books], clock: VirtualClock, state: str) -> None:
    spool, opened = room
    await hold(spool, opened, state=state)
    taught: list[tuple[str, str]] = []

    async def teach(entry: Entry) -> None:
        taught.append((entry.sender, entry.account))

    await desk.release(spool, opened.journal, clock, "m1", by="ann", reason="a real newsletter", teach=teach)
    assert await state_of(spool, "m1") == "incoming"
    _, progress, _ = await spool.find("m1")
    assert (progress.due, progress.since) == (clock.now(), clock.now())
    assert taught == [("a@example.org", "example.org")]
    # On disk already, without a flush.
    assert [type(record) for record in in_journal(opened)] == [HeldChange, Audit]
    opened.keep()
    assert queries.held_list(opened.ledger, Filters()) == []
    shown = await desk.held_show(opened.ledger, spool, "m1")
    assert (shown["state"], shown["changed_by"], shown["in_spool"]) == ("released", "ann", "incoming")
    assert [a["what"] for a in shown["decision"]["audit"]] == ["held.release"]


async def test_delete(room: tuple[Spool, Books], clock: VirtualClock) -> None:
    spool, opened = room
    await hold(spool, opened)
    await desk.delete(spool, opened.journal, clock, "m1", by="ann")
    assert await state_of(spool, "m1") is None
    opened.keep()
    row = queries.held_one(opened.ledger, "m1")
    assert row is not None
    assert row.state == "deleted"


async def test_what_is_not_held_is_refused(room: tuple[Spool, Books], clock: VirtualClock) -> None:
    spool, opened = room
    await spool.put(entry("q1"), [CONTENT], "queue")
    for id_, why in (("q1", "not held any more"), ("nothere", "no held message"), ("../../x", "no held message")):
        with pytest.raises(DeskError, match=why):
            await desk.release(spool, opened.journal, clock, id_, by="ann")
        with pytest.raises(DeskError, match=why):
            await desk.delete(spool, opened.journal, clock, id_, by="ann")
    assert await state_of(spool, "q1") == "queue"
    opened.journal.close()
    assert opened.scribe.once() == 0


async def test_a_file_that_cannot_be_read_is_no_failure_of_ours(room: tuple[Spool, Books]) -> None:
    spool, opened = room
    await hold(spool, opened)
    path = spool.files.path("m1", "held")
    path.unlink()
    path.mkdir()
    with pytest.raises(DeskError, match="m1 cannot be read"):
        await desk.held_show(opened.ledger, spool, "m1")


async def test_two_people_at_once(room: tuple[Spool, Books], clock: VirtualClock) -> None:
    spool, opened = room
    await hold(spool, opened)
    with await spool.lease("m1", "held"), pytest.raises(DeskError, match="somebody else"):
        await desk.release(spool, opened.journal, clock, "m1", by="ann")
    assert await state_of(spool, "m1") == "held"


async def test_without_a_journal_nothing_is_done(
    room: tuple[Spool, Books], clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, opened = room
    await hold(spool, opened)

    def full(*records: Record) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opened.journal, "write", full)
    with pytest.raises(DeskError, match=r"nothing was done.*No space left"):
        await desk.release(spool, opened.journal, clock, "m1", by="ann")
    with pytest.raises(DeskError, match="nothing was done"):
        await desk.delete(spool, opened.journal, clock, "m1", by="ann")
    with pytest.raises(DeskError, match="nothing was done"):
        await act("suspend", opened, clock, "account", "example.org", reason="x")
    assert await state_of(spool, "m1") == "held"


async def test_an_act_that_fails_is_taken_back_in_the_journal(
    room: tuple[Spool, Books], clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, opened = room
    await hold(spool, opened)

    async def broken(self: Lease, to: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Lease, "move", broken)
    with pytest.raises(DeskError, match="could not be released: Input/output error"):
        await desk.release(spool, opened.journal, clock, "m1", by="ann")
    opened.keep()
    assert [row.state for row in queries.held_list(opened.ledger, Filters())] == ["held"]


@pytest.mark.parametrize(("to", "then"), [("released", "incoming"), ("deleted", None), ("returned", None)])
async def test_what_was_decided_before_a_crash_is_finished(
    room: tuple[Spool, Books], clock: VirtualClock, to: str, then: str | None
) -> None:
    spool, opened = room
    await hold(spool, opened)
    opened.keep(HeldChange("m1", clock.now(), to, by="ann"))
    done = await desk.reconcile(spool, opened.ledger, opened.journal, clock, hostname="og.test")
    assert (done.finished, done.found, done.gone) == (1, 0, 0)
    assert await state_of(spool, "m1") == then
    opened.keep()
    assert queries.held_states(opened.ledger, ["m1"]) == {"m1": to}


async def test_held_mail_that_the_ledger_does_not_know_is_found(room: tuple[Spool, Books], clock: VirtualClock) -> None:
    spool, opened = room
    opened.keep()
    await spool.put(entry("m1"), [CONTENT], "quarantine")
    await spool.put(entry("new", received=clock.now() - 1), [CONTENT], "held")
    done = await desk.reconcile(spool, opened.ledger, opened.journal, clock, hostname="og.test")
    assert done.found == 1
    opened.keep()
    (row,) = queries.held_list(opened.ledger, Filters())
    assert (row.id, row.state, row.score, row.subject) == ("m1", "quarantine", SCORE, "Hello")
    assert row.recipients == ("x@example.net", "Y@example.net")
    found = queries.decision_one(opened.ledger, "m1")
    assert found is not None
    assert sum(signal["weight"] for signal in found["signals"]) == SCORE
    assert (await desk.reconcile(spool, opened.ledger, opened.journal, clock, hostname="og.test")).found == 0


async def test_rows_whose_file_is_gone_are_marked(room: tuple[Spool, Books], clock: VirtualClock) -> None:
    spool, opened = room
    opened.keep(decision("gone"), decision("queued"), decision("moved"))
    await spool.put(entry("queued"), [CONTENT], "queue")
    await spool.put(entry("moved"), [CONTENT], "quarantine")
    apart = await desk.reconcile(spool, opened.ledger, opened.journal, clock, hostname="og.test", node="another")
    # What others hold is their business; what has come here is ours.
    assert (apart.gone, apart.corrected) == (0, 1)
    done = await desk.reconcile(spool, opened.ledger, opened.journal, clock, hostname="og.test")
    assert done.gone == 2
    opened.keep()
    states = queries.held_states(opened.ledger, ["gone", "queued", "moved", "another"])
    assert states == {"gone": "missing", "queued": "released", "moved": "quarantine"}
    assert queries.open_states(opened.ledger) == {"moved": "quarantine"}


async def test_suspend_and_resume(room: tuple[Spool, Books], clock: VirtualClock) -> None:
    _, opened = room
    opened.keep(decision("m1", received=clock.now()), decision("m2", received=clock.now(), sender="b@example.org"))
    ledger = opened.ledger
    standing = await act("suspend", opened, clock, "sender", "a@example.org", reason="stolen")
    assert standing.account == "example.org"
    opened.keep()
    assert [s.change for s in directory_queries.standings(ledger, "example.org")] == ["suspended"]
    forgotten: list[tuple[str, str]] = []

    async def forget(sender: str, account: str) -> None:
        forgotten.append((sender, account))

    clock.advance(1)
    await act("resume", opened, clock, "sender", "a@example.org", forget)
    await act("resume", opened, clock, "account", "example.org", forget)
    await act("resume", opened, clock, "account", "silent.example", forget)
    assert forgotten == [
        ("a@example.org", "example.org"),
        ("a@example.org", "example.org"),
        ("b@example.org", "example.org"),
        ("", "silent.example"),
    ]
    opened.keep()
    shown = await desk.account_show(ledger, clock, "example.org")
    assert [s["change"] for s in shown["history"]] == ["resumed", "resumed", "suspended"]
    (listed, silent) = await desk.account_list(ledger, clock)
    assert (listed["account"], listed["suspended"], listed["held"], listed["day"]) == (
        "example.org",
        False,
        2,
        {"hold": 2},
    )
    assert silent["account"] == "silent.example"


async def test_limits_and_exemptions(room: tuple[Spool, Books], clock: VirtualClock) -> None:
    _, opened = room
    opened.keep()
    await act("limit", opened, clock, "account", "c1", limits={"messages_per_hour": 10})
    await act("exempt", opened, clock, "account", "c1", reason="agreed", until=clock.now() + 60)
    opened.keep()
    found = {s.change: s for s in directory_queries.standings(opened.ledger, "c1")}
    assert found["limited"].limits == {"messages_per_hour": 10}
    assert found["exempted"].until == clock.now() + 60
    assert (await act("limit", opened, clock, "account", "c1")).change == "unlimited"
    for limits in ({"messages_per_week": 1}, {"messages_per_hour": -1}):
        with pytest.raises(DeskError, match="is not a limit"):
            await act("limit", opened, clock, "account", "c1", limits=limits)
    with pytest.raises(DeskError, match="a reason and an end"):
        await act("exempt", opened, clock, "account", "c1", until=1.0)
    with pytest.raises(DeskError, match="neither"):
        await act("suspend", opened, clock, "account", "", reason="x")


async def test_an_import(room: tuple[Spool, Books], clock: VirtualClock) -> None:
    _, opened = room
    text = (
        "\ufeffAccount,Sender,Name,Contact\r\n"
        'c1,a@example.org,"One, Inc.",one@example.org\r\n'
        "c1,*@example.net,,\n"
        "\n"
        "c2,,Two,\n"
    )
    assert await desk.import_accounts(opened.journal, clock, text, by="ann") == (2, 2)
    opened.keep()
    accounts = directory_queries.accounts(opened.ledger)
    assert (accounts["c1"]["name"], accounts["c1"]["contact"], accounts["c2"]["name"]) == (
        "One, Inc.",
        "one@example.org",
        "Two",
    )
    assert directory_queries.mapping(opened.ledger) == {"a@example.org": "c1", "*@example.net": "c1"}
    shown = await desk.account_show(opened.ledger, clock, "c1")
    assert shown["senders"] == ["*@example.net", "a@example.org"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the file is empty"),
        ("a@example.org,c1\n", "line 1: the heading must name account"),
        ("account,sender,sender\n", "line 1: the heading"),
        ("account,colour\n", "line 1: the heading"),
        ("account,sender\nc1\n", "line 2: 1 fields instead of 2"),
        ("account,sender\nc1,a@b.example\n,x@b.example\n", "line 3: no account"),
        ("account,sender\nc1,a@b.example\nc2,A@b.example\n", "line 3: 'A@b.example' belongs to 'c1' already"),
        ('account,sender\n"c1,a@b.example\n', "line 2: unexpected end of data"),
    ],
)
async def test_an_import_with_a_mistake_takes_nothing_in(
    room: tuple[Spool, Books], clock: VirtualClock, text: str, why: str
) -> None:
    _, opened = room
    with pytest.raises(DeskError) as caught:
        await desk.import_accounts(opened.journal, clock, text, by="ann")
    assert str(caught.value).startswith(why)
    opened.keep()
    assert directory_queries.accounts(opened.ledger) == {}


async def test_an_unknown_account(room: tuple[Spool, Books], clock: VirtualClock) -> None:
    _, opened = room
    opened.keep()
    with pytest.raises(DeskError, match="no account nobody"):
        await desk.account_show(opened.ledger, clock, "nobody")
