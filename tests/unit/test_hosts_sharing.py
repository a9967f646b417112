"""Hosts that share a ledger: what the one that leads does for all, what stops with it, what is forgotten."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from outbound_guard.app.child import Child
from outbound_guard.app.leading import take_part
from outbound_guard.app.parts import Parts
from outbound_guard.app.watching import next_round
from outbound_guard.blocklist.asking import Asking
from outbound_guard.blocklist.lists import Lists
from outbound_guard.blocklist.watch import Watch
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Blocklist, Config, Server
from outbound_guard.desk.held import bulk
from outbound_guard.desk.held.bulk import Eyes
from outbound_guard.desk.held.bulk_work import Work
from outbound_guard.dns import Questions
from outbound_guard.ledger import account_erasing, nodes
from outbound_guard.ledger.nodes import Here, Lead
from outbound_guard.ledger.records import Erasure
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.spool import Spool
from tests.records import BOTH, Books, books, decision

LEDGERS = BOTH
NOW = 1_700_000_000.0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Iterator[Books]:
    with books(tmp_path, clock) as found:
        found.ledger.migrate()
        yield found


@pytest.fixture
def shared(ledger_database: str) -> bool:
    return ledger_database == "postgresql"


@pytest.mark.parametrize("leads", [True, False])
async def test_what_nobody_confirms_expires_wherever_the_messages_are(
    opened: Books, clock: VirtualClock, tmp_path: Path, leads: bool
) -> None:
    opened.scribe.close()
    opened.scribe = Scribe(opened.journal_dir, opened.ledger, clock, here=Here(name="beta"))
    opened.keep(*(decision(f"m{number}", received=NOW) for number in range(3)))
    placed = await bulk.place(
        opened.ledger,
        opened.journal,
        clock,
        ("m0", "m1", "m2"),
        "release",
        by="console:ann",
        person="ann",
        eyes=Eyes(2, 600.0),
    )
    opened.keep()
    clock.advance(601)

    async def settled() -> bool:
        opened.keep()
        return True

    work = Work(
        opened.ledger,
        Spool(tmp_path / "spool", clock, free_bytes=0),
        opened.journal,
        clock,
        hostname="guard.test",
        settled=settled,
        teaching=lambda by, say: pytest.fail("nothing is taught"),
        writer=opened.ledger,
        node="alpha",
        leads=lambda: leads,
    )
    await work.once()
    opened.keep()
    assert (await bulk.progress(opened.ledger, placed.id)).state == ("expired" if leads else "waiting")


async def test_a_host_that_leads_no_more_does_not_ask_blocklists(opened: Books, clock: VirtualClock) -> None:
    lists = Lists(())
    watch = Watch(
        Asking(lists, Questions(["127.0.0.1:1"]), clock, per_second=1.0, per_second_per_list=1.0),
        (),
        {},
        opened.ledger,
        clock,
        Blocklist(),
        count=lambda *_, **__: None,
        listing_changed=lambda row: None,
        address_changed=lambda row: None,
    )
    before_and_after = iter((True, False))
    await next_round(watch, lambda: next(before_and_after))
    assert watch.ended == 0.0
    await next_round(watch, lambda: True)
    assert watch.ended == NOW


async def test_what_is_measured_for_all_is_told_by_the_host_that_leads(
    opened: Books, shared: bool, tmp_path: Path
) -> None:
    if not shared:
        return
    assert Lead(opened.ledger, "beta").renew()
    ready, told = os.pipe()
    os.close(ready)
    async with AsyncExitStack() as stack:
        stack.callback(os.close, told)
        config = Config(server=Server(data_dir=str(tmp_path / "data")), path=str(tmp_path / "config.toml"))
        parts = Parts(config, Child("console", "", told), stack)
        parts.metrics.gauge("held_expiring", 3.0)
        parts.metrics.gauge("cases_open", 2.0, "triage")
        parts.metrics.gauge("spool_messages", 5.0, "held")
        take_part(parts, opened.ledger, "alpha", lambda: True)
        for _ in range(2000):
            if not parts.metrics.value("held_expiring"):
                break
            await asyncio.sleep(0.01)
        assert parts.metrics.value("held_expiring") == parts.metrics.value("cases_open", "triage") == 0
        assert parts.metrics.value("spool_messages", "held") == 5


def test_a_promise_to_lead_ends_while_the_machine_sleeps(opened: Books) -> None:
    assert nodes.STEADY.args == (time.CLOCK_BOOTTIME,)
    assert nodes.STEADY() >= time.monotonic() - 1


def test_one_host_alone_leads_whatever_it_was_called_before(opened: Books, shared: bool) -> None:
    nodes.enter(opened.ledger, Here(name="old", identity="1"))
    opened.sql("UPDATE node SET seen = seen - 100")
    nodes.enter(opened.ledger, Here(name="new", identity="1"))
    leading = [one.name for one in nodes.nodes(opened.ledger) if one.leads]
    assert leading == ([] if shared else ["new"])


def test_hosts_that_are_gone_are_forgotten_and_what_they_did_for_an_erasure(opened: Books) -> None:
    for name in ("old", "new"):
        nodes.enter(opened.ledger, Here(name=name, identity="1"))
    opened.sql(f"UPDATE node SET seen = seen - {nodes.FORGOTTEN + 60} WHERE name = 'old'")
    opened.sql(f"UPDATE node SET seen = seen - {nodes.FORGOTTEN - 60} WHERE name = 'new'")
    opened.keep(*(Erasure(id, NOW, f"{id}.test", "ann") for id in ("over", "waits")))
    for order in account_erasing.orders(opened.ledger):
        account_erasing.note_files_gone(opened.ledger, order.id, "new", 1, 3)
    opened.sql("UPDATE erasure SET state = 'done' WHERE id = 'over'")
    opened.scribe.prune()
    assert [one.name for one in nodes.nodes(opened.ledger)] == ["new"]
    assert opened.sql("SELECT erasure, times, messages FROM erasure_node") == [("waits", 1, 3)]
