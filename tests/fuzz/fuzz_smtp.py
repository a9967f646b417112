"""Whole SMTP sessions on the real Session: what is answered, what is taken, and what a strict reader makes of the same.

The reference is a client's view: each command line gets one reply, 354 is followed by a message up to CRLF "." CRLF
and its one reply. If server and reference part ways, something that is no command was read as one (smuggling), or the
other way round. With STARTTLS the octets behind the command go through a real handshake.
"""

from __future__ import annotations

import asyncio
import collections
import re
import ssl
import warnings
from collections.abc import Iterator
from typing import Any

from outbound_guard.config import contains, networks
from outbound_guard.edge import lines
from outbound_guard.edge.session import Session
from outbound_guard.mail import Submission
from tests.fuzz.fuzz_proxy import reference as proxied
from tests.fuzz.smtp_edges import (
    KINDS,
    LIMITS,
    PEERS,
    REPORTS,
    Forgetful,
    Pipe,
    Quiet,
    QuietReports,
    check,
    settle,
)
from tests.fuzz.target import Choices, Target, files, holds, one_line, pieces, quiet, scratch
from tests.live_edge import client_tls

TAKEN: collections.Counter[int] = collections.Counter()
"""Messages taken so far, by kind of listener: a fuzz that hardly ever gets a message in shows nothing about it."""
_LINE = re.compile(rb"[2345]\d\d[ -][^\x00-\x1f\x7f]*\r\n")
_DATA = re.compile(rb"data[ \t]*", re.I)
_STARTTLS = re.compile(rb"starttls[ \t]*", re.I)
_XCLIENT = re.compile(rb"xclient[ \t]+.+", re.I)


class World:
    """The edges that sessions are played on, and the loop they live in."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.edges: dict[int, Quiet] = {}

    def play(self, octets: bytes) -> None:
        self.runner.run(self._play(octets))

    async def _edge(self, kind: int) -> Quiet:
        if kind not in self.edges:
            made = QuietReports if kind == REPORTS else Quiet
            edge = made(scratch(), {"listener": {**KINDS[kind]}, "limits": LIMITS})
            await edge.__aenter__()
            # No session here waits for a clock: the listening socket is not needed.
            edge.server.close()
            edge.passwords.check = check  # type: ignore[method-assign]
            edge.passwords.guesses = Forgetful()  # type: ignore[assignment]
            self.edges[kind] = edge
        return self.edges[kind]

    async def _play(self, octets: bytes) -> None:
        choices = Choices(octets)
        kind, peer, seed = choices.number(len(KINDS)), choices.one(PEERS), choices.number(256)
        stream = choices.rest()
        edge = await self._edge(kind)
        if KINDS[kind]["tls"] == "none":
            whole = await self._session(edge, kind, peer, [stream])
            if seed:
                cut = await self._session(edge, kind, peer, pieces(stream, seed))
                holds(cut == whole, "depends on how it is cut", stream, whole, cut)
        else:
            await self._session(edge, kind, peer, pieces(stream, seed))

    async def _session(
        self, edge: Quiet, kind: int, peer: tuple[Any, ...], chunks: list[bytes]
    ) -> tuple[bytes, list[bytes], bool]:
        edge.messages.clear()
        edge.counts.clear()
        edge.loop_errors.clear()
        session = (edge.reports if isinstance(edge, QuietReports) else edge.edge).protocol()
        assert isinstance(session, Session)
        pipe = Pipe(peer, session)
        session.connection_made(pipe)
        # Who may speak for others, by a header or a command.
        friend = peer[0] == "127.0.0.1"
        clear, secured = bytearray(), bytearray()
        said, ended = b"", False
        try:
            rest = list(chunks)
            implicit = KINDS[kind]["tls"] == "implicit"
            while rest and not implicit and not pipe.over and pipe.protocol is session:
                chunk = rest.pop(0)
                clear += chunk
                pipe.arrive(chunk)
                await settle(2 + len(chunk) // 50)
            await settle(20 + len(clear) // 50)
            replies, turned = bytes(pipe.written), implicit or pipe.protocol is not session
            if turned:
                said, ended = await self._secured(pipe, rest, secured, greeted=implicit)
            faults = {name: number for name, number in edge.counts.items() if name[0] == "smtp_faults_total"}
            holds(not faults and not edge.loop_errors, "a fault of ours", chunks, faults, edge.loop_errors)
            messages = list(edge.messages)
            TAKEN[kind] += len(messages)
            for message in messages:
                sound(edge, message, told="xclient" in KINDS[kind] and friend)
            reader = Reference(messages, xclient="xclient" in KINDS[kind] and friend)
            stream: bytes | None = bytes(clear)
            if "proxy_protocol" in KINDS[kind] and friend:
                stream = introduced(bytes(clear), replies, messages)
            if not implicit and stream is not None:
                reader.follow(stream, replies, over=pipe.over or turned, greeted=True)
            if turned:
                reader.follow(bytes(secured), said, over=pipe.over or ended, greeted=implicit)
            holds(reader.taken == len(messages), "took a message that nobody sent", chunks)
            return replies, [each.content for each in messages], pipe.over
        finally:
            session.connection_lost(None)
            await settle(3)

    async def _secured(self, pipe: Pipe, chunks: list[bytes], sent: bytearray, *, greeted: bool) -> tuple[bytes, bool]:
        """Shake hands as a client, then send `chunks` inside; what the server says in there, and if it has closed."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_tls().wrap_bio(incoming, outgoing, server_hostname="localhost")
        place = len(pipe.written)
        said, ended = bytearray(), False

        def hear() -> None:
            nonlocal place, ended
            incoming.write(bytes(pipe.written[place:]))
            place = len(pipe.written)
            while True:
                try:
                    found = client.read(65_536)
                except ssl.SSLWantReadError:
                    return
                except ssl.SSLZeroReturnError:
                    found = b""
                if not found:
                    ended = True
                    return
                said.extend(found)

        for _ in range(10):
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                break
            pipe.arrive(outgoing.read())
            await settle(3)
            incoming.write(bytes(pipe.written[place:]))
            place = len(pipe.written)
        else:
            raise AssertionError("no handshake")
        pipe.arrive(outgoing.read())
        await settle(5)
        hear()
        # CVE-2021-38371, CVE-2024-34083: what came in clear behind STARTTLS must not be answered in here.
        holds(greeted or not said, "answered before anything was said", bytes(said))
        for chunk in chunks:
            hear()
            if pipe.over or ended:
                break
            sent += chunk
            client.write(chunk)
            pipe.arrive(outgoing.read())
            await settle(2 + len(chunk) // 50)
        await settle(20 + len(sent) // 50)
        hear()
        return bytes(said), ended


def sound(edge: Quiet, message: Submission, *, told: bool) -> None:
    """What must hold for every message that is taken, whoever sent it."""
    envelope = message.envelope
    holds(0 < len(envelope.recipients) <= LIMITS["recipients"], envelope)
    for word in (envelope.mail_from, *envelope.recipients, message.helo, envelope.envid, envelope.ret):
        holds(one_line(word) and "\n" not in word, word)
    for asked in envelope.asked.values():
        holds(one_line(asked.orcpt), asked)
    holds(len(message.content) <= LIMITS["message_size"], len(message.content))
    plain = message.content.replace(b"\r\n", b"")
    holds(b"\r" not in plain and b"\n" not in plain, message.content)
    trusted = contains(networks(edge.listener.trusted), message.client_ip)
    holds(trusted or message.login, "an open relay", message)
    holds(told or message.login in (None, "alice", "relay-1"), message.login)
    # A report is taken whoever hands it in: it is about mail, and goes nowhere.
    of_suspended = (message.login or envelope.mail_from) == "suspended@example.com"
    holds(not of_suspended or isinstance(edge, QuietReports), message)
    if edge.listener.tls == "starttls" and message.login:
        holds(message.tls, "a password in clear")


def introduced(stream: bytes, replies: bytes, messages: list[Submission]) -> bytes | None:
    """What of a connection of a load balancer is SMTP; None if there is no header."""
    found = proxied(stream)
    if found is None:
        holds(not messages, "took mail without a PROXY header", stream)
        holds(not replies or replies[:1] in (b"4", b"5"), "greeted without a PROXY header", stream, replies)
        return None
    client, length = found
    holds(client.address or not messages, "took mail of nobody", stream)
    holds({message.client_ip for message in messages} <= {client.address}, "of another client", stream, messages)
    return stream[length:]


class Reference:
    """Follows a session by the client's octets and the server's replies, and says which messages there are in it."""

    def __init__(self, messages: list[Submission], *, xclient: bool) -> None:
        self._messages, self._xclient = messages, xclient
        self.taken = 0

    def follow(self, stream: bytes, written: bytes, *, over: bool, greeted: bool) -> None:
        replies = replies_in(written)
        if greeted:
            holds(replies and replies[0][:4] == b"220 ", written)
            replies = replies[1:]
        at, reading, line = 0, "line", b""
        lmtp, recipients, more = False, 0, 0
        for number, reply in enumerate(replies):
            last = over and number == len(replies) - 1
            code = reply[:3]
            if code == b"421":
                # The server's own last word, which may stand behind the answer to a command.
                holds(last, "went on behind its last word", stream, replies)
                return
            if more:
                # RFC 2033 4.2: a reply for each recipient.
                more -= 1
                holds(reply == replies[number - 1], "two fates of one report", stream, replies)
                continue
            if reading == "message":
                end = (b"\r\n" + stream[at:]).find(b"\r\n.\r\n")
                holds(end >= 0, "answered a message that has no end", stream, replies)
                self._message(stream[at : at + end + 1], code, stream)
                at, reading, more = at + end + 3, "line", recipients - 1 if lmtp else 0
                continue
            end = stream.find(b"\r\n", at)
            line = stream[at:] if end < 0 else stream[at:end]
            if b"\r" in line.removesuffix(b"\r") or b"\n" in line:
                holds(last and code[:1] == b"5", "went on behind a bare CR or LF", stream, replies)
                return
            if end < 0:
                holds(last and code[:1] in (b"4", b"5"), "answered what was not said", stream, replies)
                return
            at = end + 2
            verb = line[:4].upper()
            if code == b"250" and verb in (b"LHLO", b"EHLO", b"HELO", b"MAIL", b"RSET", b"RCPT"):
                lmtp = lmtp or verb == b"LHLO"
                recipients = recipients + 1 if verb == b"RCPT" else 0
            if code == b"354":
                holds(_DATA.fullmatch(line), "354 to something else", line)
                reading = "message"
            elif code == b"220" and _XCLIENT.fullmatch(line):
                holds(self._xclient, "believed a stranger's XCLIENT", line)
            elif code == b"220":
                holds(_STARTTLS.fullmatch(line), "220 to something else", line)
                holds(number == len(replies) - 1, "went on in clear behind STARTTLS", stream, replies)
                return
        if not over and replies:
            # Whatever is complete has been answered.
            rest = stream[at:]
            waiting = b"\r\n.\r\n" in b"\r\n" + rest if reading == "message" else b"\r\n" in rest
            holds(not waiting, "left without an answer", rest, stream, replies)

    def _message(self, raw: bytes, code: bytes, stream: bytes) -> None:
        if code != b"250":
            return
        lines = raw.split(b"\r\n")[:-1]
        content = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
        holds(self.taken < len(self._messages), "said 250 and took nothing", stream)
        holds(self._messages[self.taken].content == content, "took another message", stream)
        self.taken += 1


def replies_in(written: bytes) -> list[bytes]:
    """Each reply's last line; every line must be one that a client can read (RFC 5321 4.2)."""
    found, at = [], 0
    while at < len(written):
        line = _LINE.match(written, at)
        holds(line is not None, "no reply line", written[at : at + 100])
        assert line is not None
        if line[0][3:4] == b" ":
            found.append(line[0])
        at = line.end()
    return found


_world: list[World] = []


@quiet("mail", "outbound_guard.edge.opening")
def attempt(octets: bytes) -> None:
    if not _world:
        # Sessions are left open on purpose; their sockets are none of this.
        warnings.simplefilter("ignore", ResourceWarning)
        _world.append(World())
    longest, lines._LONGEST_LINE = lines._LONGEST_LINE, 600
    try:
        _world[0].play(octets)
    finally:
        lines._LONGEST_LINE = longest


def seeds() -> Iterator[bytes]:
    hello = b"EHLO a.example\r\n"
    message = b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nSubject: x\r\n\r\n..y\r\n.\r\n"
    # In one piece: nothing behind STARTTLS may be heard.
    yield b"\4\0\0" + hello + b"STARTTLS\r\nNOOP\r\n" + message
    for kind in range(len(KINDS)):
        # Behind each line: else what follows STARTTLS comes in clear and is thrown away.
        lead = bytes((kind, 0, 2))
        yield lead + hello + message + b"QUIT\r\n"
        yield lead + hello + b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n" + message + message
        yield lead + hello + b"AUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\n" + message
        yield lead + hello + b"AUTH PLAIN AGd1ZXNzZXIAeA==\r\n" * 4 + message
        yield lead + hello + b"AUTH PLAIN AGFsaWNlAHg=\r\n" * 4 + message
        yield lead + hello + b"STARTTLS\r\n" + hello + b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n" + message
        yield lead + hello + b"MAIL FROM:<a@a.example> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb\r\nRSET\r\n"
        yield lead + hello + b"MAIL FROM:<>\r\nRCPT TO:<b@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@b\r\n"
        yield (
            lead
            + b"HELO a\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nx\n.\r\nMAIL\r\n.\r\nNOOP\r\n"
        )
    report = b"MAIL FROM:<>\r\nRCPT TO:<b@b.example>\r\nRCPT TO:<fbl+x@c.example>\r\nDATA\r\nx\r\n.\r\n"
    yield b"\x08\0\5LHLO a\r\n" + report + report + b"QUIT\r\n"
    yield b"\x08\0\5LHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@b.example>\r\nDATA\r\n" + report
    for address in (b"127.0.0.1", b"192.0.2.7"):
        yield b"\7\0\5PROXY TCP4 " + address + b" 192.0.2.2 40000 25\r\n" + hello + message
        yield b"\6\0\5" + hello + b"XCLIENT ADDR=" + address + b" HELO=b.example LOGIN=bob\r\n" + hello + message
        yield b"\6\1\5" + hello + b"XCLIENT ADDR=" + address + b"\r\n" + hello + message
    yield b"\7\0\5PROXY UNKNOWN\r\n" + hello + message
    yield b"\7\1\5PROXY TCP4 127.0.0.1 192.0.2.2 40000 25\r\n" + hello + message
    yield b"\7\0\0\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\xc0\0\2\2\x9c\x40\0\x19" + hello + message
    for dialogue in files("dialogs", "*.txt"):
        said = [line[3:] for line in dialogue.splitlines() if line.startswith(b"C: ")]
        yield bytes((1, 0, 9)) + b"\r\n".join([*said, b""])
        yield bytes((4, 0, 0)) + b"\r\n".join([*said, b""])


WORDS = (
    *(b"\r\n", b"\r\n.\r\n", b"\n", b"\r", b"\r\n.", b" ", b"\t", b"\0", b"\xff", b"<", b">", b"@", b'"', b"=", b"*"),
    *(b"EHLO a\r\n", b"HELO a\r\n", b"MAIL FROM:<a@a.example>\r\n", b"RCPT TO:<b@b.example>\r\n", b"DATA\r\n"),
    *(
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"STARTTLS\r\n",
        b"AUTH PLAIN\r\n",
        b"AUTH LOGIN\r\n",
        b"VRFY a\r\n",
        b"LHLO a\r\n",
    ),
    *(b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", b"AGFsaWNlAHdyb25n\r\n", b"BDAT 3 LAST\r\n", b"GET / HTTP/1.1\r\n"),
    *(b"MAIL FROM:<suspended@example.com>\r\n", b" SIZE=999999", b" SMTPUTF8", b" BODY=8BITMIME", b" NOTIFY=NEVER"),
    *(b"Received: a\r\n", b"x\r\n", b"..y\r\n", b"\xc3\xa9", b"z" * 400, b"XCLIENT ADDR=192.0.2.1\r\n"),
    *(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n"),
)
TARGET = Target(attempt, seeds, WORDS, lead=3)
