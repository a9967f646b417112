"""The real filters: what they say of mail, and that mail does not depend on them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outbound_guard.config import Scanner
from outbound_guard.scanners import Opinion
from tests.daemons import GTUBE, INFECTED, Daemon, daemons, needs
from tests.product import message
from tests.scanning import Asking

EVENT_LOOPS = ("asyncio", "uvloop")
SPAM_FILTERS = [pytest.param(kind, marks=needs(kind)) for kind in ("rspamd", "spamassassin")]
ALL = [*SPAM_FILTERS, pytest.param("clamav", marks=needs("clamav"))]

CLEAN = message("see you", "See you tomorrow.", Date="Mon, 2 Mar 2026 10:00:00 +0100", Message_ID="<1@a.test>")
SPAM = message("an offer", GTUBE, Date="Mon, 2 Mar 2026 10:00:00 +0100", Message_ID="<2@a.test>")
PATIENCE = 60.0
"""Seconds for an answer that is to come, on however busy a machine."""


async def said(asking: Asking, content: bytes) -> Opinion | None:
    """What the one scanner says, if it does."""
    opinions = await asking.ask(content)
    return opinions[0] if opinions else None


@pytest.fixture(scope="module")
def running() -> Iterator[Callable[[str], Daemon]]:
    # pytest's own folders cannot be entered by the user that spamd becomes.
    with tempfile.TemporaryDirectory(prefix="scanners-") as folder:
        Path(folder).chmod(0o755)
        with daemons(Path(folder)) as running:
            yield running


@pytest.mark.parametrize("kind", SPAM_FILTERS)
async def test_spam_filter_tells_spam_from_other_mail(kind: str, running: Callable[[str], Daemon]) -> None:
    asking = Asking(Scanner(kind=kind, address=running(kind).address, timeout=PATIENCE))
    clean, spam = await said(asking, CLEAN), await said(asking, SPAM)
    assert clean is not None
    assert spam is not None
    assert (clean.scanner, clean.result) == (kind, "clean")
    assert (spam.scanner, spam.result) == (kind, "spam")
    assert "GTUBE" in spam.reason
    assert asking.counted(kind, "clean") == asking.counted(kind, "spam") == 1


@needs("clamav")
@pytest.mark.parametrize("way", ["tcp", "unix"])
async def test_clamd_finds_what_its_signature_names(way: str, running: Callable[[str], Daemon]) -> None:
    daemon = running("clamav")
    address = daemon.address if way == "tcp" else f"unix:{daemon.folder}/socket"
    asking = Asking(Scanner(kind="clamav", address=address, timeout=PATIENCE, message_size=2_000_000))
    assert await said(asking, CLEAN) == Opinion("clamav", "clean", "nothing found")
    assert await said(asking, INFECTED) == Opinion("clamav", "virus", "Guard.Test.Harmless.UNOFFICIAL")
    # However the message begins: clamd must see that it is one, or it looks into no attachment.
    without_from = INFECTED.replace(b"From: Anna <anna@a.test>\r\n", b"X-PHP-Originating-Script: 1012:x.php\r\n")
    for content in (without_from, without_from.replace(b"To: <someone@there.test>\r\n", b"")):
        heard = await said(asking, content)
        assert heard is not None
        assert heard.result == "virus"
    # One whose size needs many writes.
    large = CLEAN + b"many words of a long text\r\n" * 60_000
    assert await said(asking, large) == Opinion("clamav", "clean", "nothing found")


@pytest.mark.parametrize("kind", ALL)
async def test_what_hangs_is_asked_no_more_until_a_probe_is_answered(
    kind: str, running: Callable[[str], Daemon]
) -> None:
    daemon = running(kind)
    asking = Asking(Scanner(kind=kind, address=daemon.address, timeout=0.2, failures=2, pause=60.0))
    with daemon.hanging():
        assert [await said(asking, CLEAN) for _ in range(4)] == [None] * 4
        assert (asking.counted(kind, "timeout"), asking.counted(kind, "paused")) == (2, 2)
        asking.clock.advance(61.0)
        assert [await said(asking, CLEAN) for _ in range(2)] == [None] * 2
        assert (asking.counted(kind, "timeout"), asking.counted(kind, "paused")) == (3, 3), (
            "one probe, and the pause begins anew"
        )
    patient = Asking(Scanner(kind=kind, address=daemon.address, timeout=PATIENCE))
    heard = await said(patient, CLEAN)
    assert heard is not None
    assert heard.result == "clean"


@pytest.mark.parametrize("kind", ALL)
async def test_what_was_killed_is_found_again(kind: str, running: Callable[[str], Daemon]) -> None:
    daemon = running(kind)
    asking = Asking(Scanner(kind=kind, address=daemon.address, timeout=PATIENCE, failures=2, pause=60.0))
    assert await said(asking, CLEAN) is not None
    daemon.kill()
    assert [await said(asking, CLEAN) for _ in range(3)] == [None] * 3
    assert (asking.counted(kind, "down"), asking.counted(kind, "paused")) == (2, 1)
    daemon.start()
    assert await said(asking, CLEAN) is None, "the pause has not ended"
    asking.clock.advance(61.0)
    heard = await said(asking, CLEAN)
    assert heard is not None
    assert heard.result == "clean"
    assert await said(asking, CLEAN) is not None, "the breaker is closed again"
