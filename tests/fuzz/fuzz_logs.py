"""Lines of other servers' logs and records: followed for results, read for the history, pasted at the desk."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterator

from outbound_guard.blocklist import channels
from outbound_guard.desk.blocked.finding import as_json, blocked
from outbound_guard.desk.blocked.pasted import answers_in
from outbound_guard.feedback import kumo, postfix
from outbound_guard.feedback.matching import Result
from outbound_guard.history import Delivery, exim
from outbound_guard.history import postfix as history_postfix
from outbound_guard.history.files import Stamps
from tests.fuzz.target import Choices, Target, files, holds

NOW = 1_790_000_000.0
SIDES = ("provider", "customer", "recipient", "receiver")


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind = choices.number(5)
    text = choices.rest().decode("utf-8", "replace")
    if kind == 0:
        log = postfix.Postfix()
        for line in text.split("\n"):
            of_result(log.read(line, NOW))
            holds(postfix.time_of_line(line, NOW) <= NOW, line)
    elif kind == 1:
        of_records(choices.rest())
    elif kind == 4:
        pasted(text)
    else:
        skipped: Counter[str] = Counter()
        reader = exim.Exim(skipped) if kind == 2 else history_postfix.Postfix(skipped)
        stamps = Stamps(datetime.UTC, NOW)
        for line in text.split("\n"):
            found = stamps.read(line)
            if found is not None:
                holds(math.isfinite(found[0]), line)
                of_delivery(reader.read(*found))


def of_result(result: Result | None) -> None:
    """What is said of one recipient."""
    if result is None:
        return
    holds(math.isfinite(result.at) if hasattr(result, "at") else True, result)
    fate = result.fate
    holds(200 <= fate.reply.code < 600 and len(fate.reply.text) <= 1000, fate)
    holds(fate.recipient and ">" not in fate.recipient, fate)


def of_delivery(delivery: Delivery | None) -> None:
    """One answer out of the history."""
    if delivery is not None:
        holds(200 <= delivery.reply.code < 600, delivery)
        holds(delivery.recipient and not any(c.isspace() for c in delivery.recipient.strip()), delivery)


def of_records(content: bytes) -> None:
    """Records of KumoMTA, as lines or posted."""
    for record in kumo.records(content):
        if record is not None:
            for result in kumo.results(record, NOW):
                of_result(result)
            report = kumo.complaint(record)
            holds(report is None or report.kind == "complaint", report)


def pasted(text: str) -> None:
    """What somebody puts into `blocked`."""
    for answer in answers_in(text):
        holds(answer.reply.code == 0 or 200 <= answer.reply.code < 600, answer)
    said = as_json(blocked(text, channels.packaged()))
    holds(said["class"] and said["side"] in SIDES, said)


def seeds() -> Iterator[bytes]:
    for number, content in enumerate(files("logs", "*")):
        for start in range(0, min(len(content), 12_000), 1500):
            # From the start of a line.
            place = content.find(b"\n", start) + 1
            for kind in (0, 3, 4) if number else (2, 4):
                yield bytes([kind]) + content[place : place + 1500]
    yield b"\0" + b"2099-01-01T10:00:00Z a postfix/qmgr[1]: 4XYZ1: removed\nFeb 30 10:00:00 a"
    yield b"\1" + (
        b'{"type":"Bounce","id":"1","recipient":"a@b.example","event_time":1,"response":{"code":550,"content":"x",'
        b'"enhanced_code":{"class":5,"subject":1,"detail":1}},"peer_address":{"name":"mx"},"headers":{"Message-ID":"<a>"}}'
    )
    yield b'\1{"type":"Feedback","feedback_report":{"feedback_type":"abuse","original_rcpt_to":["a@b.example"]}}\n[1]'
    yield b"\x04550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using bl.example"
    yield b"\4Final-Recipient: rfc822; a@b.example\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 no such user\n"
    yield b"\x04192.0.2.7"


WORDS = (
    *(
        b"\n",
        b" ",
        b"<",
        b">",
        b"[",
        b"]",
        b":",
        b"=",
        b"{",
        b"}",
        b'"',
        b"\\u0000",
        b"null",
        b"1e999",
        b"-1",
        b"\xff",
        b"\0",
    ),
    *(b"postfix/smtp[9]: 4XYZ1: to=<a@b.example>, relay=mx[192.0.2.1]:25, delay=1, dsn=5.1.1, status=",),
    *(
        b"bounced (host mx[192.0.2.1] said: 550 5.1.1 x (in reply to RCPT TO command))",
        b"sent (250 2.0.0 Ok: queued as AB12C)",
    ),
    *(
        b"Mar  2 10:00:00 web1 ",
        b"2026-03-02 10:00:00 ",
        b"2026-03-02T10:00:00+00:00 ",
        b"Feb 29 10:00:00 a ",
        b"+99:99",
    ),
    *(
        b"1wK2ab-000001-2A <= a@b.example H=(pc) [192.0.2.7] P=esmtpsa A=login:a@b.example S=9",
        b" ** ",
        b" => ",
        b" == ",
    ),
    *(
        b"SMTP error from remote mail server after RCPT TO:<a@b>: 550 x",
        b"message-id=<a@b>",
        b"removed",
        b"sasl_username=a",
    ),
    *(
        b'"type":"Delivery"',
        b'"recipient":',
        b'"response":',
        b'"enhanced_code":',
        b'"event_time":',
        b"client=x[192.0.2.1]",
    ),
)
TARGET = Target(attempt, seeds, WORDS, lead=1)
