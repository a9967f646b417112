"""Reports are read: what they say, in all the forms in which the world says it; hostile ones are survived."""

from __future__ import annotations

import json
import lzma
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.delivery.answers import meaning_of
from outbound_guard.feedback.kumo import results
from outbound_guard.feedback.reading import read
from outbound_guard.feedback.report import TYPES, address, reply_in
from tests.feedback_reports import arf, dsn, forwarded, qmail, quoted

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
TOKEN = "0abcdefghjkmnpqr-0123456789ab"
ORIGINAL = (
    b"Received: from web1 ([192.0.2.7])\r\n\tby guard.test (Outbound Guard) with ESMTP\r\n"
    b"\tid 0abcdefghjkmnpqr\r\n\tfor <bob@b.test>; Sat, 4 Jul 2026 10:00:00 +0000\r\n"
    b"X-Outbound-Guard-Id: 0abcdefghjkmnpqr-0123456789ab\r\nFrom: anna@a.test\r\nTo: bob@b.test\r\n"
    b"Message-ID: <1@a.test>\r\nSubject: hello\r\n\r\nbuy this\r\n"
)


def corpus(name: str) -> Iterator[dict[str, Any]]:
    file = CORPUS / "robustness" / f"{name}.jsonl.xz"
    if not file.exists():
        pytest.skip("the shared corpus is not here")
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


@pytest.mark.parametrize("type_", TYPES)
def test_every_feedback_type(type_: str) -> None:
    said = read(arf(ORIGINAL, type_=type_, recipient="<bob@b.test>"))
    assert (said.kind, said.form, said.type, said.recipients) == ("complaint", "arf", type_, ("bob@b.test",))
    assert said.original.tokens == (TOKEN,)
    assert said.original.ids == ("0abcdefghjkmnpqr",)
    assert said.original.message_ids == ("1@a.test",)


def test_what_comes_out_of_utf_7_can_be_written_down() -> None:
    status = b"Final-Recipient: rfc822; bob+2AA-@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    shown = b"Message-ID: <x+2AA-@a.test>\r\n"
    parts = ((b"message/delivery-status", status), (b"text/plain", shown))
    body = b"".join(b"--b\r\nContent-Type: %b; charset=utf-7\r\n\r\n%b\r\n" % part for part in parts)
    said = read(b"Content-Type: multipart/report; boundary=b\r\n\r\n" + body + b"--b--\r\n")
    assert said.kind == "bounce"
    assert [fate.recipient for fate in said.fates] == ["bob\ufffd@b.test"]
    assert said.original.message_ids == ("x\ufffd@a.test",)


def test_no_database_is_asked_for_what_it_cannot_hold() -> None:
    original = b"Message-ID: <x\0y@a.test>\r\nMessage-ID: <1@a.test>\r\nSubject: hello\r\n\r\nbuy this\r\n"
    said = read(arf(original, recipient="<bo\0b@b.test>"))
    assert (said.original.message_ids, said.recipients) == (("1@a.test",), ("b@b.test",))
    [fate] = [one.fate for one in results({"type": "Bounce", "recipient": "b\0ob@b.test", "id": "1"}, 0.0)]
    assert fate.recipient == "ob@b.test"
    [one] = results({"type": "Bounce", "recipient": "b@b.test", "headers": {"Message-ID": "<x\0y@a.test>"}}, 0.0)
    assert one.message_id == "xy@a.test"


def test_an_unknown_type_is_other() -> None:
    assert read(arf(ORIGINAL, type_="x-strange")).type == "other"


@pytest.mark.parametrize("ends", [b"\n", b"\r"])
def test_line_ends_of_files(ends: bytes) -> None:
    said, kept = read(arf(ORIGINAL)), read(arf(ORIGINAL).replace(b"\r\n", ends))
    assert (said.kind, said.original) == (kept.kind, kept.original)


def test_by_hand() -> None:
    for content in (forwarded(ORIGINAL), quoted(ORIGINAL)):
        said = read(content)
        assert (said.kind, said.form, said.type) == ("complaint", "forwarded", "abuse")
        assert said.original.tokens == (TOKEN,)
        assert said.reporter == "carl@isp.test"


def test_what_is_in_the_enclosed_text_is_not_its_header() -> None:
    other = b"0zzzzzzzzzzzzzzz-ba9876543210"
    content = forwarded(ORIGINAL.replace(b"buy this", b"X-Outbound-Guard-Id: " + other))
    assert read(content).original.tokens == (TOKEN,)


def test_a_bounce_of_several_recipients() -> None:
    said = read(
        dsn(
            ORIGINAL,
            [
                ("bob@b.test", "5.1.1", "550 5.1.1 <bob@b.test>: User unknown"),
                ("carl@c.test", "5.2.2", "552 mailbox is full"),
                ("dora@d.test", "5.0.0", "no words"),
            ],
        )
    )
    assert (said.kind, said.form, said.reporter) == ("bounce", "dsn", "mx.isp.test")
    assert [(fate.recipient, fate.reply.code, fate.reply.enhanced, fate.final) for fate in said.fates] == [
        ("bob@b.test", 550, "5.1.1", True),
        ("carl@c.test", 552, "5.2.2", True),
        ("dora@d.test", 550, "5.0.0", True),
    ]
    assert said.fates[0].peer == "mx.b.test"


def test_delayed_and_delivered_are_no_failures() -> None:
    [late] = read(dsn(ORIGINAL, [("bob@b.test", "4.4.1", "451 4.4.1 try later")], action="delayed")).fates
    assert (late.reply.code, late.final) == (451, False)
    [there] = read(dsn(ORIGINAL, [("bob@b.test", "2.0.0", "250 Ok")], action="delivered")).fates
    assert there.reply.accepted
    # Given up after a temporary answer: final all the same.
    [expired] = read(dsn(ORIGINAL, [("bob@b.test", "4.4.7", "451 4.4.1 no route")])).fates
    assert (expired.reply.temporary, expired.final) == (True, True)


def test_qmail() -> None:
    said = read(qmail(ORIGINAL, "bob@b.test", "550 5.1.1 no mailbox here by that name"))
    [fate] = said.fates
    assert (said.form, fate.recipient, fate.reply.code, fate.reply.enhanced) == ("text", "bob@b.test", 550, "5.1.1")
    assert meaning_of(fate.reply).coarse == "unknown_user"
    assert said.original.tokens == (TOKEN,)


def test_an_answering_machine_does_not_complain() -> None:
    content = forwarded(ORIGINAL).replace(b"MIME-Version", b"Auto-Submitted: auto-replied\r\nMIME-Version", 1)
    assert read(content).kind == "other"
    assert read(forwarded(ORIGINAL), mail_from="").kind == "other"


def test_replies_in_texts() -> None:
    found = reply_in("host mx.b.test[198.51.100.9] said: 550-5.7.1 [203.0.113.5] Our system has detected (in reply)")
    assert found is not None
    assert (found.code, found.enhanced) == (550, "5.7.1")
    # 250 is a number in a sentence, 4.4.7 says that it is not meant.
    expired = reply_in("expired after 250 minutes", "4.4.7")
    assert expired is not None
    assert (expired.code, expired.enhanced) == (450, "4.4.7")
    assert reply_in("nothing of the kind") is None
    assert address("rfc822; <Anna.B@a.example>") == "Anna.B@a.example"


def test_complaints_of_the_corpus() -> None:
    said = Counter(read(one["raw"].encode("latin-1")).kind for one in corpus("arf"))
    assert said["complaint"] >= 15
    assert said.total() == 17


def test_bounces_of_the_corpus() -> None:
    """More than nine of ten bounces are read, with the recipient; and nothing in it is taken for a complaint by ARF."""
    kinds: Counter[str] = Counter()
    agree: Counter[bool] = Counter()
    for one in corpus("dsn"):
        said = read(one["raw"].encode("latin-1"))
        kinds[said.kind] += 1
        assert (said.kind, said.form) != ("complaint", "arf")
        if said.kind == "bounce":
            assert all("@" in fate.recipient for fate in said.fates)
        expected = one.get("expect", {}).get("reason")
        if said.fates and expected in ("userunknown", "mailboxfull"):
            wanted = {"userunknown": "unknown_user", "mailboxfull": "mailbox_full"}[expected]
            agree[meaning_of(said.fates[0].reply).coarse == wanted] += 1
    assert kinds["bounce"] > 0.9 * kinds.total()
    assert agree[True] > 0.95 * agree.total()


def test_the_malformed_and_the_ordinary_of_the_corpus_are_survived() -> None:
    for name in ("malformed", "fixture"):
        kinds = Counter(read(one["raw"].encode("latin-1", "replace")).kind for one in corpus(name))
        assert kinds["other"] > 0.7 * kinds.total()


def _nested(depth: int) -> bytes:
    content = ORIGINAL
    for _ in range(depth):
        content = b"Content-Type: message/rfc822\r\n\r\n" + content
    return content


def _many_parts(number: int) -> bytes:
    head = b'From: <>\r\nContent-Type: multipart/report; boundary="b"\r\n\r\n'
    return head + b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" * number + b"--b--\r\n"


HOSTILE = {
    "10,000 parts": _many_parts(10_000),
    "messages in messages": _nested(2_000),
    "multiparts in multiparts": b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(3_000)
    ),
    "broken base64": arf(ORIGINAL).replace(b"text/plain", b"text/plain\r\nContent-Transfer-Encoding: base64", 1),
    "unknown charset": arf(ORIGINAL).replace(b"text/plain", b"text/plain; charset=x-no-such\xff", 1),
    "nothing": b"",
    "no end of the header": b"Subject: " + b"x" * 3_000_000,
    "a header of many lines": b"X: y\r\n" * 400_000,
    "no feedback type": arf(ORIGINAL).replace(b"Feedback-Type: abuse\r\n", b""),
    "a million fields": arf(ORIGINAL).replace(b"Version: 1\r\n", b"Version: 1\r\n" + b"A: b\r\n" * 300_000),
    "many recipients": dsn(ORIGINAL, [(f"{n}@b.test", "5.1.1", "550 5.1.1 unknown") for n in range(20_000)]),
    "long words": b"From: mailer-daemon@x.test\r\nSubject: failure notice\r\n\r\n" + b"a@" * 500_000,
    "codes without end": b"From: mailer-daemon@x.test\r\nSubject: failure notice\r\n\r\nb@b.test " + b"550 " * 500_000,
    "tokens without end": forwarded(ORIGINAL).replace(b"Stop it.", (TOKEN.encode() + b" ") * 50_000),
    "binary": bytes(range(256)) * 4_000,
    "spaces": b"From: mailer-daemon@x.test\r\nSubject: undeliverable\r\n\r\n" + b" \r\n" * 500_000,
    "a delimiter on each line": b'Content-Type: multipart/report; boundary="b"\r\n\r\n' + b"--bx\r\n" * 500_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reports_are_survived(name: str) -> None:
    begun = time.process_time()
    said = read(HOSTILE[name])
    assert said.kind in ("complaint", "bounce", "other", "unreadable")
    assert len(said.fates) <= 1000
    # No measure, but a stop for what grows with the square of the size; it takes a tenth of that here.
    assert time.process_time() - begun < 20


def test_what_cannot_be_read_says_so() -> None:
    assert read(_many_parts(10_000)).kind == "unreadable"
    assert read(_nested(2_000)).kind == "unreadable"
    assert read(arf(ORIGINAL), most=500).kind == "unreadable"
    assert read(b"").kind == "unreadable"


def test_spam_cannot_make_complaints_about_itself_unreadable() -> None:
    said = read(arf(_many_parts(10_000).replace(b"From: <>", b"X-Outbound-Guard-Id: " + TOKEN.encode())))
    assert (said.kind, said.original.tokens) == ("complaint", (TOKEN,))
