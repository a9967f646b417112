"""The disk is full, the ledger is locked: what can go on goes on, the rest stays with the client, nothing is lost."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.flow import Flow
from tests.product import Hops, Product, message, until

MEGABYTE = 1_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, as data_dir."""
    disk = tmp_path / "data"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk], capture_output=True)
    if mounted.returncode:  # Only root may mount.
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves at most so many octets free."""
    filler = disk / "filler"
    try:
        with filler.open("ab", buffering=0) as file:
            while (free := _free(disk)) > leave:
                file.write(bytes(min(MEGABYTE, max(1, free - leave))))
    except OSError:
        pass  # It is full, which is what was wanted.
    return filler


def _free(disk: Path) -> int:
    done = subprocess.run(["stat", "-f", "-c", "%a %S", disk], capture_output=True, text=True, check=True)
    blocks, size = map(int, done.stdout.split())
    return blocks * size


def files(disk: Path) -> list[str]:
    """Everything that lies in the spool."""
    return [str(file) for file in (disk / "spool").rglob("*") if file.is_file() and file.name != "delivery.lock"]


def test_the_disk_is_full(tmp_path: Path, disk: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path, smarthosts=[hop.address], relays=1) as product, product.client() as client:

            def submit(subject: str) -> str:
                return client.submit("anna@customer.test", ["bob@there.test"], message(subject))

            assert submit("before").startswith("250 ")
            # Less is free than new mail may use (spool.free_bytes), then nothing at all.
            for leave, subject in ((MEGABYTE // 2, "little room"), (0, "no room")):
                filler = fill(disk, leave)
                # What needs no disk goes on.
                assert "queued as TEST" in (said := submit(f"{subject}, passed on")), said
                with hops.away(hop):
                    # What needs it stays with the client.
                    said = submit(f"{subject}, kept")
                    assert said.startswith(("452 4.3.1 OG-FULL ", "451 4.3.0 OG-FAULT ")), said
                    assert files(disk) == []
                    filler.unlink()
                    # It is taken when there is room.
                    assert (said := submit(f"{subject}, kept")).startswith("250 2.0.0 Ok: queued as "), said
                until(lambda: "queued as TEST" in submit("in between"), "the next hop is used again")
                until(lambda: not files(disk), lambda: files(disk))
                mark = f"Subject: {subject}, kept\r\n".encode()
                assert sum(mark in one.content for one in hop.messages) == 1
            # What could not be written down meanwhile was kept and is written down now.
            until(lambda: product.metric("ledger_up") == 1 and product.metric("ledger_backlog_segments") == 0)
            sent = len(product.events())

            def decided() -> int:
                shown = json.loads(product.guard("account", "show", "customer.test", "--json"))
                return sum(shown["day"].values())

            until(lambda: decided() == sent, lambda: (decided(), sent))
            assert product.metric("journal_lost_total") == 0


@pytest.mark.long
def test_the_ledger_is_locked(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path, smarthosts=[hop.address], relays=1) as product:
            flow = Flow(hops, product, hop)
            flow.goes_on()
            until(lambda: product.metric("ledger_up") == 1, "the ledger is there")
            with closing(sqlite3.connect(product.data / "ledger.sqlite3", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                until(lambda: product.metric("ledger_up") == 0, "the metrics say that it cannot be written")
                assert product.metric("ledger_backlog_segments") > 0
                flow.goes_on(200)
                other.execute("ROLLBACK")
            until(lambda: product.metric("ledger_up") == 1, "the metrics say that it can be written")
            answered = flow.end()
            assert len(answered) > 260

            def decided() -> int:
                listed = json.loads(product.guard("account", "list", "--json"))
                return sum(sum(account["day"].values()) for account in listed)

            until(lambda: decided() == len(answered), lambda: (decided(), len(answered)))
