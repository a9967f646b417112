"""A disk that is really full: what was accepted stays whole, what does not fit is refused, nothing is left behind."""

import asyncio
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.mail import Envelope, new_id
from outbound_guard.spool import Entry, Spool, SpoolFull

NOW = 1_800_000_000.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)], capture_output=True)
    if mounted.returncode:  # Only root may mount.
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def entry(number: int) -> Entry:
    return Entry(new_id(NOW + number), NOW, Envelope("a@example.com", ("b@example.net",)))


async def test_a_full_disk(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool", VirtualClock(NOW), 0)
    accepted: dict[str, bytes] = {}
    refused = 0
    for number in range(200):
        message, content = entry(number), os.urandom(10_000)
        try:
            await spool.put(message, [content], "incoming")
            accepted[message.id] = content
        except SpoolFull:
            refused += 1
    assert len(accepted) > 20
    assert refused > 100
    assert list((small_disk / "spool" / "tmp").iterdir()) == []
    assert {e.id for e in spool.entries("incoming")} == accepted.keys()
    for id_, content in accepted.items():
        assert await spool.content(id_) == content
    # Moving needs no room, and what is removed makes room again.
    first, second, *_ = accepted
    await spool.move(first, "held", due=None)
    await spool.remove(second)
    await spool.put(entry(1000), [b"x" * 5000], "incoming")
    spool.close()


async def test_a_write_that_is_cut_short_in_the_middle(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", VirtualClock(NOW), 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        results = await asyncio.gather(
            spool.put(entry(1), [b"x" * 50_000], "held"),
            spool.put(entry(2), [b"x" * 60_000, b"y" * 60_000], "held"),
            return_exceptions=True,
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert results[0] is None
    assert isinstance(results[1], SpoolFull)
    assert len(list(spool.entries("held"))) == 1
    assert list((tmp_path / "spool" / "tmp").iterdir()) == []
    spool.close()
