"""Hosts that share a ledger: each has its name, one leads, and what each forgets is its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import bulk_queries, bulk_storing, nodes, queries
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.nodes import SECONDS, Here, Lead
from outbound_guard.ledger.records import Audit, BulkPlaced, Delivered, HeldChange
from outbound_guard.ledger.scribe import Scribe
from tests.records import BOTH, Books, books, decision

LEDGERS = BOTH
A, B = Here(name="alpha", identity="1"), Here(name="beta", identity="2", console="http://beta.test:8080")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path, VirtualClock(1_700_000_000.0)) as found:
        found.ledger.migrate()
        yield found


@pytest.fixture
def shared(ledger_database: str) -> bool:
    return ledger_database == "postgresql"


def test_a_name_belongs_to_one_host_until_that_is_gone_for_a_while(opened: Books, shared: bool) -> None:
    nodes.enter(opened.ledger, A)
    nodes.enter(opened.ledger, B)
    nodes.enter(opened.ledger, A)
    if not shared:
        # It has one host, which was restored without its old identity.
        nodes.enter(opened.ledger, Here(name="alpha", identity="3"))
        return
    with pytest.raises(LedgerError, match="another host goes by the name alpha"):
        nodes.enter(opened.ledger, Here(name="alpha", identity="3"))
    opened.sql(f"UPDATE node SET seen = seen - {nodes.TAKEN + 1} WHERE name = 'alpha'")
    nodes.enter(opened.ledger, Here(name="alpha", identity="3"))
    with pytest.raises(LedgerError, match="another host"):
        nodes.enter(opened.ledger, A)
    found = nodes.nodes(opened.ledger)
    assert [(one.name, one.console) for one in found] == [("alpha", ""), ("beta", "http://beta.test:8080")]
    assert all(one.age < 60 for one in found)


def test_one_leads_and_only_until_it_has_promised(opened: Books, shared: bool) -> None:
    if not shared:
        assert Lead(opened.ledger, "alpha").leads
        return
    steady = {"alpha": 100.0, "beta": 500.0}
    alpha, beta = (Lead(opened.ledger, name, lambda name=name: steady[name]) for name in ("alpha", "beta"))
    assert not alpha.leads
    assert alpha.renew()
    assert not beta.renew()
    assert (alpha.leads, beta.leads) == (True, False)
    # Who has not renewed it does not trust it to the end, whatever its clock says.
    steady["alpha"] += SECONDS - 1
    assert not alpha.leads
    assert not beta.renew(), "by the database's clock it still holds"
    opened.sql("UPDATE lease SET until = until - 60")
    assert beta.renew()
    assert not alpha.renew()
    assert (alpha.leads, beta.leads) == (False, True)
    beta.give_up()
    assert not beta.leads
    assert alpha.renew()


def test_of_many_that_ask_at_once_one_leads(opened: Books, shared: bool) -> None:
    if not shared:
        return
    ledgers = [Ledger(opened.url, writer=True) for _ in range(6)]
    leads = [Lead(ledger, f"host{number}") for number, ledger in enumerate(ledgers)]
    asking = [threading.Thread(target=lead.renew) for lead in leads]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert sum(lead.leads for lead in leads) == 1
    for ledger in ledgers:
        ledger.close()


def test_writers_on_several_hosts_take_turns_and_their_serials_come_in_order(
    opened: Books, shared: bool, tmp_path: Path
) -> None:
    if not shared:
        return
    clock, number = VirtualClock(1_700_000_000.0), 12
    seen: list[int] = []
    stop = threading.Event()

    def follow() -> None:
        """As what follows serials does: never go back to look for lower ones."""
        reader, last = Ledger(opened.url), 0
        while True:
            ended = stop.is_set()
            with reader.connection() as connection:
                found = connection.exec_driver_sql(f"SELECT serial FROM delivery WHERE serial > {last} ORDER BY serial")
                seen.extend(row[0] for row in found)
            last = seen[-1] if seen else 0
            if ended:
                break
        reader.close()

    def write(name: str) -> None:
        with books(tmp_path / name, clock) as mine:
            mine.ledger.close()
            ledger = Ledger(opened.url, writer=True)
            scribe = Scribe(mine.journal_dir, ledger, clock, here=Here(name=name, identity=name))
            for one in range(number):
                mine.journal.append(Delivered(f"{name}-{one}", 1.0, "x@example.net", 250))
                mine.journal.append(decision(f"{name}-{one}", received=clock.now()))
                mine.journal.seal()
                scribe.once()
            scribe.close()
            ledger.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in ("alpha", "beta", "gamma")]
    following = threading.Thread(target=follow)
    following.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    following.join()
    assert opened.count("delivery") == opened.count("decision") == 3 * number
    assert len(seen) == len(set(seen)) == 3 * number
    # Counted once each, though all of them count on the same row.
    assert opened.sql("SELECT sum(messages) FROM traffic WHERE account = ''") == [(3 * number,)]
    assert sorted(opened.sql("SELECT node, count(*) FROM held GROUP BY node")) == [
        (name, number) for name in ("alpha", "beta", "gamma")
    ]


def of(opened: Books, here: Here, leads: bool = True) -> Scribe:
    """The scribe of a host; one at a time is at work on this journal."""
    opened.scribe.close()
    opened.scribe = Scribe(
        opened.journal_dir, opened.ledger, VirtualClock(1_700_000_000.0), here=here, leads=lambda: leads
    )
    return opened.scribe


def test_a_message_is_where_its_file_was_seen_last(opened: Books) -> None:
    of(opened, A)
    opened.keep(decision("m1"), decision("m2"))
    of(opened, B)
    opened.keep(HeldChange("m2", 2000.0, "held", reason="found in the spool"), HeldChange("m3", 2000.0, "held"))
    assert queries.open_states(opened.ledger, "alpha") == {"m1": "held"}
    assert queries.open_states(opened.ledger, "beta") == {"m2": "held", "m3": "held"}
    assert set(queries.open_states(opened.ledger)) == {"m1", "m2", "m3"}


def test_a_host_forgets_its_own_segments_and_the_one_that_leads_what_is_old(opened: Books) -> None:
    old = 1_700_000_000.0 - 40 * 86400
    of(opened, A)
    opened.keep(decision("m1", received=old, state=""))
    of(opened, B, leads=False)
    opened.keep(Audit(old, "ann", "test"))
    assert opened.count("segment") == 2
    opened.scribe.prune()
    assert opened.sql("SELECT node FROM segment") == [("alpha",)]
    assert opened.count("decision") == 1
    of(opened, A).prune()
    assert opened.count("segment") == opened.count("decision") == 0


def test_what_is_begun_cannot_be_taken_back_and_what_is_taken_back_is_not_begun(opened: Books) -> None:
    of(opened, A)
    opened.keep(decision("m1"), decision("m2"))
    opened.keep(*(BulkPlaced(f"b{n}", 10.0, "delete", ("m1", "m2"), by="ann", due=20.0) for n in range(2)))
    assert bulk_queries.pending_at(opened.ledger, "b0") == {"alpha": 2}
    assert [id_ for id_, _ in bulk_queries.pending(opened.ledger, "b0", "alpha")] == ["m1", "m2"]
    assert bulk_queries.pending(opened.ledger, "b0", "beta") == []
    assert bulk_storing.begin(opened.ledger, "b0", 20.0)
    assert bulk_storing.begin(opened.ledger, "b0", 20.0), "another host has begun it"
    assert not bulk_storing.take_back(opened.ledger, "b0", 20.0, "ann")
    assert bulk_storing.take_back(opened.ledger, "b1", 19.0, "ann")
    assert not bulk_storing.begin(opened.ledger, "b1", 20.0)
    assert {one.id: one.state for one in bulk_queries.newest(opened.ledger)} == {"b0": "running", "b1": "undone"}
