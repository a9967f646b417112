"""Bounces and complaints as strangers send them, and reports of our own, which must be read back as they were meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from outbound_guard.delivery import dsn
from outbound_guard.feedback import reading
from outbound_guard.feedback.report import LONGEST, TYPES, Report
from outbound_guard.mail import Asked, Envelope
from outbound_guard.reply import Reply
from outbound_guard.spool import Failure
from tests.fuzz.target import Choices, Target, files, holds, one_line, robustness

KINDS = ("complaint", "bounce", "other", "unreadable")
_HEAD = re.compile(rb"(?:[!-9;-~]+:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+\r\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PLAIN = re.compile(r"[a-z0-9]{1,20}@[a-z0-9]{1,20}\.example")


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind, sender = choices.number(4), choices.one((None, "", "a@b.example"))
    content = choices.rest()
    if kind:
        sound(reading.read(content, sender), content)
    else:
        letter(content, choices)


def sound(report: Report, content: bytes) -> None:
    """What holds for every report, whoever wrote it."""
    holds(report.kind in KINDS, report.kind)
    holds(report.kind != "complaint" or report.type in TYPES, report.type)
    holds(bool(report.fates) == (report.kind == "bounce"), report.kind)
    holds(report.digest, content)
    for fate in report.fates:
        holds("@" in fate.recipient and not re.search(r"[\s<>]", fate.recipient), fate.recipient)
        holds(200 <= fate.reply.code < 600 and len(fate.reply.text) <= LONGEST, fate.reply)
        holds("\n" not in fate.reply.text and "\r" not in fate.reply.text, fate.reply)
    for word in (*report.recipients, *report.original.message_ids, *report.original.tokens, *report.original.ids):
        holds(not re.search(r"[\s<>]", word), word)
    # It goes into the journal, which is JSON.
    msgspec.json.encode(report)
    again = reading.read(content.replace(b"\r\n", b"\n")) if b"\r" not in content.replace(b"\r\n", b"") else None
    holds(again is None or again.digest == report.digest, "another digest with other line ends", content)


def letter(octets: bytes, choices: Choices) -> None:
    """A report of ours about recipients, answers and a message that a stranger has chosen."""
    words = octets.decode("utf-8", "surrogateescape").split("\x1f")
    words += [""] * (8 - len(words))
    to, original, envid = words[0], words[1], words[2]
    utf8, full = choices.number(2) == 1, choices.number(2) == 1
    failures = [
        Failure(recipient, Reply((550, 450, 554)[number % 3], ("", "5.1.1", "4.2.2")[number % 3], text), peer)
        for number, (recipient, text, peer) in enumerate(zip(words[3::3], words[4::3], words[5::3], strict=False))
    ]
    if not failures:
        return
    asked = {failures[0].recipient: Asked((), f"rfc822;{envid}")} if envid else {}
    envelope = Envelope("a@b.example", (), ret="FULL" if full else "", envid=envid, asked=asked)
    returned = original.encode("utf-8", "replace").replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    kinds = [kind for name in ("FAILED", "DELAYED", "RELAYED") if (kind := getattr(dsn, name, None))]
    more = {"kind": choices.one(kinds)} if kinds else {}
    made = dsn.report(
        "id", 1.7e9, "guard.test", to, failures, returned, 1.6e9, original_id="o", utf8=utf8, envelope=envelope, **more
    )
    bare = made.replace(b"\r\n", b"")
    holds(b"\r" not in bare and b"\n" not in bare, "a bare line end", made)
    head = _HEAD.match(made)
    holds(head is not None and head[0].count(b"\r\nTo: ") == 1, "a header of another form", made)
    holds(max(map(len, made.split(b"\r\n"))) <= 998, "a line too long", made)
    boundary = re.search(rb'\n\tboundary="([^"]+)"', made)
    assert boundary is not None
    parts = made.split(b"\r\n--" + boundary[1])
    holds(len(parts) == 5 and parts[-1] == b"--\r\n", "a part too many or too few", made)
    for part in parts[:3]:
        holds(not _CONTROL.search(part), "quotes a control character", part)
    failed = not more or more["kind"] is kinds[0]
    report = reading.read(made, "")
    sound(report, made)
    if failed and all(_PLAIN.fullmatch(failure.recipient) for failure in failures):
        holds(report.kind == "bounce" and report.form == "dsn", report)
        holds([fate.recipient for fate in report.fates] == [one.recipient for one in failures][:1000], report.fates)
        holds([fate.final for fate in report.fates] == [True] * len(failures), report.fates)
    for fate in report.fates:
        holds(one_line(fate.peer), "a peer of several lines", fate.peer)


def seeds() -> Iterator[bytes]:
    for full in (b"\0", b"\1"):
        yield (
            b"\0\0"
            + b"\x1f".join(
                (b"a@b.example", b"Subject: x\n\nbody\n", b"a+2Bb", b"c@d.example", b"no such user", b"mx.d.example:25")
            )
            + full
        )
    yield b"\0\0" + b"\x1f".join((b"a@b.example\r\nBcc: x", b"\x01", b"+0A", b"\xc3\xa4@d", b"a\r\n\r\nb", b"[::1]:25"))
    for kind in ("dsn", "arf"):
        for number, content in enumerate(robustness(kind, 150, 5000)):
            yield bytes((1 + number % 3, number % 3)) + content
    for content in files("logs", "*"):
        yield b"\1\1From: mailer-daemon@x.example\r\nSubject: Undelivered\r\n\r\n" + content[:1500]


WORDS = (
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\x1f",
        b"\0",
        b"\x1b[2J",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\xff",
        b"--",
        b"=_id",
    ),
    *(b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n", b"Content-Type: message/"),
    *(b"delivery-status", b"feedback-report", b"message/rfc822", b"text/rfc822-headers", b"Final-Recipient: rfc822;"),
    *(
        b"Original-Recipient: ",
        b"Action: failed",
        b"Status: 5.1.1",
        b"Diagnostic-Code: smtp; 550 5.1.1 x",
        b"Remote-MTA: ",
    ),
    *(
        b"Feedback-Type: abuse",
        b"User-Agent: x",
        b"Original-Rcpt-To: ",
        b"Reporting-MTA: dns; ",
        b"c@d.example",
        b"<",
        b">",
    ),
    *(
        b"X-Failed-Recipients: ",
        b"Message-ID: <",
        b"(Outbound Guard) with ESMTP id 0123456789abcdef",
        b"550 ",
        b"--b\r\n",
    ),
    *(b"0123456789abcdef-0123456789ab", b"This is a copy of the message", b"Auto-Submitted: auto-replied\r\n", b"+0A"),
)
TARGET = Target(attempt, seeds, WORDS, lead=2, longest=6000)
