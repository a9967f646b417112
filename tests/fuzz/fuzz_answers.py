"""Replies of next hops, however they are cut: read, understood, paced by, and handed on as one reply."""

from __future__ import annotations

from collections.abc import Iterator

from outbound_guard.clock import VirtualClock
from outbound_guard.delivery.answers import CLASSES, meaning_of
from outbound_guard.delivery.classes import outcome_of
from outbound_guard.delivery.lines import meaning_of_line
from outbound_guard.delivery.pace import LONGEST, Pace
from outbound_guard.delivery.replies import KEPT_LINES, KEPT_OCTETS, MalformedError, ReplyReader, reply_of
from outbound_guard.desk.blocked.answers import classified
from outbound_guard.reply import Reply
from outbound_guard.reputation import OUTCOMES
from outbound_guard.scanners import clamav, rspamd, spamassassin
from outbound_guard.scanners.opinion import Nonsense
from tests.fuzz.target import Choices, Target, files, holds, one_line, pieces, quiet

SCANNERS = (clamav.read, rspamd.read, spamassassin.read)


@quiet("outbound_guard.delivery.pace")
def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind, seed = choices.number(3), choices.number(256)
    stream = choices.rest()
    if kind == 2:
        for line in stream.decode("utf-8", "replace").split("\n")[:5]:
            known(meaning_of_line(line).class_)
            known(classified(line)["class"])
        for read in SCANNERS:
            try:
                said, words = read(stream)
            except Nonsense as error:
                said, words = "clean", str(error)
            holds(said in ("clean", "spam", "virus") and one_line(words) and len(words) <= 400, said, words)
        return
    whole, cut = replies_of([stream]), replies_of(pieces(stream, seed))
    holds(whole == cut, "depends on how it is cut", stream, seed)
    clock = VirtualClock(0.0)
    pace = Pace("site", clock)
    for code, lines in whole[0]:
        reply = reply_of(code, lines)
        one(reply)
        for _ in range(2):
            wait = pace.enter()
            holds(wait >= 0.0, wait)
            if wait:
                clock.set(clock.now() + wait)
            else:
                pace.leave([reply])
        holds(pace.busy == 0, "a message stays under way")
    clock.set(clock.now() + 86_400.0 + LONGEST)
    holds(pace.enter() == 0.0, "waits for ever")


def replies_of(chunks: list[bytes]) -> tuple[list[tuple[int, list[bytes]]], bool]:
    """The replies in a stream, and if it was called no SMTP."""
    reader = ReplyReader()
    found: list[tuple[int, list[bytes]]] = []
    try:
        for chunk in chunks:
            found += reader.feed(chunk)
    except MalformedError:
        return found, True
    return found, False


def one(reply: Reply) -> None:
    """What is told to the client, to reputation and to people about one reply."""
    holds(all(one_line(line) for line in reply.text.split("\n")), reply)
    holds(len(reply.text) <= KEPT_OCTETS + KEPT_LINES, len(reply.text))
    known(meaning_of(reply).class_)
    holds(reply.accepted or outcome_of(reply) in OUTCOMES, reply)
    wire = reply.wire()
    # RFC 5321 4.2: our client must see one reply, and the same one.
    found, malformed = replies_of([wire])
    holds(not malformed and len(found) == 1 and found[0][0] == reply.code, reply, wire)
    if len(reply.text) < KEPT_OCTETS // 2:
        again = reply_of(*found[0])
        holds(again == reply or reply.code != again.code or _spaces(again) == _spaces(reply), again, reply)


def _spaces(reply: Reply) -> tuple[str, list[str]]:
    return reply.enhanced, reply.text.split()


def known(name: str) -> None:
    """A class is one of the fixed ones, or beneath one."""
    holds(name.partition(".")[0] in CLASSES, name)


def seeds() -> Iterator[bytes]:
    yield b"\0\x00250 2.0.0 Ok\r\n"
    yield b"\0\x01250-mx.example\r\n250-PIPELINING\r\n250 SIZE 10\r\n"
    yield b"\0\x03550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1 c\r\n421 bye\r\n"
    yield b"\0\x03451 4.7.1 Try again later, too many messages\n"
    yield b"\2\0stream: Eicar FOUND\0"
    yield b'\2\0HTTP/1.1 200 OK\r\n\r\n{"action":"reject","score":1,"required_score":5,"symbols":{"A":{"score":1}}}'
    yield b"\2\0SPAMD/1.1 0 EX_OK\r\nSpam: True ; 6.0 / 5.0\r\n\r\nA,B"
    for content in (*files("unit", "reply_answers.txt"), *files("corpus", "reply_classes.txt")):
        for start in range(0, min(len(content), 30_000), 700):
            part = content[content.find(b"\n", start) + 1 :][:700]
            yield b"\2\0" + part
            yield b"\0\5" + b"".join(b"550 " + line + b"\r\n" for line in part.split(b"\n")[:6])


WORDS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"-",
        b"250 ",
        b"250-",
        b"550 5.7.1 ",
        b"421 4.7.0 ",
        b"451 ",
        b"354 ",
        b"600 ",
        b"\0",
    ),
    *(
        b"5.1.1",
        b"4.2.2",
        b"x@y.example",
        b"blocked using",
        b"rate limited",
        b"too many",
        b"greylisted",
        b"mailbox full",
    ),
    *(
        b"user unknown",
        b"spam",
        b"virus",
        b"SPF",
        b"DMARC",
        b"reverse DNS",
        b"TLS",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xff",
    ),
    *(
        b"https://x.example/",
        b"[192.0.2.1]",
        b" FOUND\0",
        b"stream: ",
        b'"score":',
        b"1e999",
        b"NaN",
        b"{",
        b"}",
        b"\x1b[0m",
    ),
)
TARGET = Target(attempt, seeds, WORDS, lead=2)
