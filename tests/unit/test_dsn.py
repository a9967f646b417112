"""Delivery status notifications, read back with the standard library and checked against RFC 3464."""

import email
import email.policy
import quopri
import re
import time
import tracemalloc
from email.message import Message
from email.utils import parsedate_to_datetime

from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.delivery import dsn
from outbound_guard.mail import Asked, Envelope
from outbound_guard.reply import Reply
from outbound_guard.spool import Failure

NOW = 1_800_000_000.0
ORIGINAL = b"From: a@example.com\r\nSubject: hello\r\n and more\r\nTo: b@example.net\r\n\r\nThe secret body\r\n"
REFUSED = Failure("b@example.net", Reply(550, "5.1.1", "no such user\nsorry"), "mx.example.net:25", NOW - 5)


def build(failures: tuple[Failure, ...] = (REFUSED,), original: bytes = ORIGINAL, **others: object) -> bytes:
    arguments: dict[str, object] = {"to": "a@example.com", "received": NOW - 60, "original_id": "0abc", "utf8": False}
    arguments |= others
    return dsn.report("0def", NOW, "guard.example.net", failures=failures, original=original, **arguments)  # type: ignore[arg-type]


def parts(report: bytes) -> tuple[Message, Message, list[Message], Message]:
    message = email.message_from_bytes(report)
    text, status, headers = message.get_payload()  # type: ignore[misc]
    assert isinstance(text, Message)
    assert isinstance(status, Message)
    assert isinstance(headers, Message)
    assert not any(part.defects for part in (message, text, status, headers))
    return message, text, status.get_payload(), headers  # type: ignore[return-value]


def test_the_letter() -> None:
    message, text, (about, recipient), headers = parts(build())
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["To"] == "<a@example.com>"
    assert message["From"] == "Mail Delivery System <mailer-daemon@guard.example.net>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == "<0def@guard.example.net>"
    assert message["MIME-Version"] == "1.0"
    assert parsedate_to_datetime(message["Date"]).timestamp() == NOW
    assert text.get_content_type() == "text/plain"
    assert b"<b@example.net>" in text.get_payload(decode=True)  # type: ignore[operator]
    assert b"no such user sorry" in text.get_payload(decode=True)  # type: ignore[operator]
    # RFC 3464 2.2 and 2.3: the required fields, and those that help.
    assert about["Reporting-MTA"] == "dns; guard.example.net"
    assert parsedate_to_datetime(about["Arrival-Date"]).timestamp() == NOW - 60
    assert about["X-Outbound-Guard-Id"] == "0abc"
    assert recipient["Final-Recipient"] == "rfc822; b@example.net"
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.1.1"
    assert recipient["Remote-MTA"] == "dns; mx.example.net"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user sorry"
    assert parsedate_to_datetime(recipient["Last-Attempt-Date"]).timestamp() == NOW - 5
    assert headers.get_content_type() == "text/rfc822-headers"
    assert headers.get_payload(decode=True) == ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert b"secret" not in build()


def test_every_recipient_has_its_block() -> None:
    failures = tuple(Failure(f"r{i}@example.net", Reply(550, "", "no"), "", NOW) for i in range(50))
    _, _, blocks, _ = parts(build(failures))
    assert [b["Final-Recipient"] for b in blocks[1:]] == [f"rfc822; r{i}@example.net" for i in range(50)]
    assert all(b["Status"] == "5.0.0" and b["Remote-MTA"] is None for b in blocks[1:])


def test_status_is_always_one_of_a_failure() -> None:
    for reply, status in (
        (Reply(451, "4.4.7", "expired"), "4.4.7"),
        (Reply(451, "", "expired"), "4.0.0"),
        (Reply(554, "2.0.0", "odd"), "5.0.0"),
        (Reply(554, "5.1\r\nX: y", "odd"), "5.0.0"),
    ):
        assert parts(build((Failure("b@c", reply),)))[2][1]["Status"] == status


def test_next_hops_are_named_without_their_port() -> None:
    for peer, name in (
        ("127.0.0.1:25", "[127.0.0.1]"),
        ("[::1]:2525", "[IPv6:::1]"),
        ("mx.example:25", "mx.example"),
        ("sink", "sink"),
    ):
        failure = Failure("b@c", Reply(550, "5.0.0", "no"), peer)
        assert parts(build((failure,)))[2][1]["Remote-MTA"] == f"dns; {name}"


def test_internationalised_mail_gets_the_forms_of_rfc_6533() -> None:
    failure = Failure("jörg@exämple.net", Reply(550, "5.1.1", "kein Empfänger"), "mx:25", NOW)
    original = "From: <anna@exämple.com>\r\nSubject: grüße\r\n\r\nx".encode()
    report = build((failure,), original, to="anna@exämple.com", utf8=True)
    message = email.message_from_bytes(report, policy=email.policy.SMTPUTF8)
    assert "To: <anna@exämple.com>\r\n".encode() in report
    assert b"Content-Type: message/global-delivery-status\r\n" in report
    assert b"Content-Type: message/global-headers\r\n" in report
    # Everything but the letter's own header is seven bits wide.
    assert report.partition(b"\r\n\r\n")[2].isascii()
    status = decoded(report, b"message/global-delivery-status")
    assert "Final-Recipient: utf-8; jörg@exämple.net\r\n".encode() in status
    assert "Diagnostic-Code: smtp; 550 5.1.1 kein Empfänger\r\n".encode() in status
    assert decoded(report, b"message/global-headers") == original.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert message["To"] == "anna@exämple.com"


def decoded(report: bytes, kind: bytes) -> bytes:
    """A body part of the report, decoded without a mail library's opinion on what the type may hold."""
    boundary = re.search(rb'boundary="([^"]+)"', report)
    assert boundary
    [part] = [p for p in report.split(b"--" + boundary[1]) if b"Content-Type: " + kind in p]
    head, _, body = part.partition(b"\r\n\r\n")
    body = body.removesuffix(b"\r\n")
    return quopri.decodestring(body) if b"quoted-printable" in head else body


def test_ascii_forms_hold_internationalised_addresses_too() -> None:
    failure = Failure("jö\\rg@example.net", Reply(550, "5.1.1", "Empfänger"), "", NOW)
    recipient = parts(build((failure,)))[2][1]
    assert recipient["Final-Recipient"] == r"utf-8; j\x{F6}\x{5C}rg@example.net"
    assert recipient["Diagnostic-Code"] == r"smtp; 550 5.1.1 Empf\xe4nger"


def test_a_header_may_hold_the_boundary_or_nothing_or_no_end() -> None:
    for original in (b"X: --=_0def\r\n--=_0def--\r\n\r\nx", b"", b"\r\n\r\nbody", b"A: b", b"A: " + b"x" * 200_000):
        headers = parts(build(original=original))[3]
        found = headers.get_payload(decode=True)
        assert found == original[:65536].partition(b"\r\n\r\n")[0] + b"\r\n"


anything = st.text(st.characters(), max_size=60) | st.text("\r\n\0: \u2028\x85\udcffa.-=_", max_size=30)


@given(
    recipient=anything, text=anything, enhanced=anything, peer=anything, to=anything, original=st.binary(max_size=2000),
    utf8=st.booleans(),
)  # fmt: skip
def test_nothing_can_add_a_line_or_break_the_form(
    recipient: str, text: str, enhanced: str, peer: str, to: str, original: bytes, utf8: bool
) -> None:
    failure = Failure(recipient, Reply(550, enhanced, text), peer, NOW)
    report = build((failure,), original, to=to, utf8=utf8)
    head, _, body = report.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b"\t")]
    assert b" ".join(names).decode() == ("From To Subject Date Message-ID Auto-Submitted MIME-Version Content-Type")
    # RFC 5321 2.3.8 and RFC 5322 2.1.1: only CRLF ends a line, and no line is too long.
    assert report.count(b"\r\n") == report.count(b"\r") == report.count(b"\n")
    assert max(map(len, report.split(b"\r\n"))) <= 998
    assert body.isascii()
    assert b"\0" not in report
    kind = b"message/global-delivery-status" if utf8 else b"message/delivery-status"
    blocks = decoded(report, kind).split(b"\r\n\r\n")
    fields = [line.partition(b":")[0].decode() for line in blocks[1].split(b"\r\n") if line]
    expected = ["Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date"]
    assert fields == [f for f in expected if f != "Remote-MTA" or peer]
    assert len(blocks) == 2
    kind = b"message/global-headers" if utf8 else b"text/rfc822-headers"
    assert decoded(report, kind) == original.partition(b"\r\n\r\n")[0] + b"\r\n"


ASKED = Envelope(
    "a@example.com",
    ("b@example.net",),
    ret="FULL",
    envid="QQ+2B314",
    asked={"b@example.net": Asked(("FAILURE",), "rfc822;Bob+2Bx+40example.org")},
)


def test_what_the_client_has_asked_for() -> None:
    """RFC 3461 4, RFC 3464 2.2.1 and 2.3.1."""
    message, _, (about, recipient), whole = parts(build(envelope=ASKED))
    assert about["Original-Envelope-Id"] == "QQ+314"
    assert recipient["Original-Recipient"] == "rfc822; Bob+x@example.org"
    assert recipient["Final-Recipient"] == "rfc822; b@example.net"
    assert whole.get_content_type() == "message/rfc822"
    [returned] = whole.get_payload()
    assert isinstance(returned, Message)
    assert returned["Subject"].startswith("hello")
    assert returned.get_payload() == "The secret body\r\n\r\n"
    # The first field of the block about the message is the one that the client knows it by.
    assert next(iter(about.keys())) == "Original-Envelope-Id"
    assert "Original-Recipient" not in parts(build())[2][1]
    assert message.get_param("report-type") == "delivery-status"


def test_an_original_recipient_keeps_its_type() -> None:
    """RFC 6533 3 and 4: the client's own encoding of characters beyond ASCII goes back as it came."""
    asked = Envelope("a@b", ("b@example.net",), asked={"b@example.net": Asked((), r"utf-8;j\x{F6}rg@example.net")})
    [_, recipient] = parts(build(envelope=asked))[2]
    assert recipient["Original-Recipient"] == r"utf-8; j\x{F6}rg@example.net"


def test_what_may_not_be_returned_whole_is_returned_in_part() -> None:
    """RFC 2046 5.2.1 forbids to encode an enclosed message."""
    for body in ("ü".encode(), b"x" * 2000, b"line\r\n" * 300_000):
        *_, part = parts(build(original=ORIGINAL + body, envelope=ASKED))
        assert part.get_content_type() == "text/rfc822-headers"


def test_what_is_asked_for_cannot_add_a_line() -> None:
    forged = Envelope(
        "a@b", ("b@example.net",), envid="x+0D+0AX: y", asked={"b@example.net": Asked((), "x;y+0D+0AA: b")}
    )
    _, _, (about, recipient), _ = parts(build(envelope=forged))
    assert about["Original-Envelope-Id"] == "x  X: y"
    assert recipient["Original-Recipient"] == "x; y  A: b"


TAKEN = Failure("b@example.net", Reply(250, "2.1.5", "Ok: queued as 1"), "mx.example.net:25", NOW - 5)


def test_a_report_that_it_was_relayed() -> None:
    """RFC 3461 5.2.2 and 6.3, RFC 3464 2.3.3: success, as far as it can be seen."""
    message, text, (about, recipient), headers = parts(build((TAKEN,), envelope=ASKED, kind=dsn.RELAYED))
    assert message["Subject"] == "Your message was passed on"
    assert b"nothing more will be said" in text.get_payload(decode=True)  # type: ignore[operator]
    assert about["Original-Envelope-Id"] == "QQ+314"
    assert recipient["Action"] == "relayed"
    assert recipient["Status"] == "2.1.5"
    assert recipient["Remote-MTA"] == "dns; mx.example.net"
    assert recipient["Original-Recipient"] == "rfc822; Bob+x@example.org"
    assert "Will-Retry-Until" not in recipient
    # RFC 3461 4.3: RET=FULL is about failures.
    assert headers.get_content_type() == "text/rfc822-headers"
    odd = Failure("b@example.net", Reply(250, "5.0.0", "Ok"))
    assert parts(build((odd,), kind=dsn.RELAYED))[2][1]["Status"] == "2.0.0"


def test_a_report_that_it_is_delayed() -> None:
    """RFC 3464 2.3.9: until when it will be tried."""
    waits = Failure("b@example.net", Reply(451, "4.4.1", "OG-NEXTHOP no next hop can be reached"), "", NOW)
    message, text, (_, recipient), _ = parts(build((waits,), kind=dsn.DELAYED, until=NOW + 1000))
    assert message["Subject"] == "Your message is delayed"
    assert b"need not send it again" in text.get_payload(decode=True)  # type: ignore[operator]
    assert recipient["Action"] == "delayed"
    assert recipient["Status"] == "4.4.1"
    assert parsedate_to_datetime(recipient["Will-Retry-Until"]).timestamp() == NOW + 1000
    odd = Failure("b@example.net", Reply(451, "5.0.0", "later"))
    assert parts(build((odd,), kind=dsn.DELAYED))[2][1]["Status"] == "4.0.0"


def test_a_large_message_is_not_cut_into_lines_to_see_whether_it_goes_back() -> None:
    original = ORIGINAL + b"x\r\n" * 2_000_000
    tracemalloc.start()
    try:
        report = build(original=original, envelope=Envelope("a@example.com", ("b@example.net",), ret="FULL"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
    assert b"The secret body" not in report


def test_a_thousand_recipients_whose_servers_talk_much() -> None:
    said = Reply(550, "5.1.1", "\n".join(["x" * 600] * 100))
    failures = tuple(Failure(f"b{n}@example.net", said, "mx.example.net:25", NOW) for n in range(1000))
    start = time.process_time()
    report = build(failures)
    assert time.process_time() - start < 2  # 0.03 s; what is not kept was looked at for 13 s.
    assert report.count(b"Final-Recipient:") == 1000
