"""`mode = "sink"`."""

from pathlib import Path

from outbound_guard.clock import VirtualClock
from outbound_guard.delivery.sink import Sink
from outbound_guard.mail import Envelope


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def test_mail_is_on_the_disk_with_its_envelope_in_front(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "sink", VirtualClock(1_800_000_000))
    envelope = Envelope("a@example.com", ("b@example.net", "jörg@example.org"))
    result = await sink.deliver(envelope, [b"Subject: x\r\n", b"\r\n\xff\0body\r\n"])
    assert [(r.code, r.enhanced) for r in result.replies] == [(250, "2.0.0")] * 2
    [(name, written)] = files(tmp_path / "sink").items()
    assert str(result.replies[0]) == f"250 2.0.0 Ok: written to the sink as {name.removesuffix('.eml')}"
    assert name.endswith(".eml")
    assert written == (
        "X-Envelope-From: <a@example.com>\r\nX-Envelope-To: <b@example.net>\r\nX-Envelope-To: <jörg@example.org>\r\n"
    ).encode() + (b"Subject: x\r\n\r\n\xff\0body\r\n")


async def test_an_address_cannot_add_a_line(tmp_path: Path) -> None:
    sink = Sink(tmp_path, VirtualClock(1_800_000_000))
    await sink.deliver(Envelope("", ("b\r\nX-Bad: 1\udcff@example.net",)), [b"Subject: x\r\n\r\n"])
    [written] = files(tmp_path).values()
    assert written.startswith(b"X-Envelope-From: <>\r\nX-Envelope-To: <b??X-Bad: 1?@example.net>\r\nSubject:")


async def test_a_sink_that_cannot_be_written_keeps_the_mail_with_the_client(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "sink", VirtualClock(1_800_000_000))
    (tmp_path / "sink").rmdir()
    result = await sink.deliver(Envelope("a@example.com", ("b@example.net",)), [b"x"])
    assert [r.code for r in result.replies] == [452]
