"""A next hop that we own: an SMTP server for tests that records what it gets and says what it is told to.

Tests get it through the fixture `next_hop` (tests/conftest.py):

    hop = await next_hop()                                   # or next_hop(pipelining=False, logins={"u": "p"}, ...)
    hop.answer("RCPT", "550 5.1.1 unknown", when="bad@")     # once; times=None: always
    hop.answer("MAIL", hop.CLOSE)                            # break off instead of answering
    ... send something to hop.address ...
    [message] = await hop.received(1)
    assert message.content == b"..."

The places where `answer` can speak: CONNECT (greeting), EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA, BODY (the first
octets of a message have arrived), "." (end of data), RSET, NOOP, QUIT.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ANSWERS = {
    "CONNECT": "220 next.hop.test ESMTP",
    "HELO": "250 next.hop.test",
    "STARTTLS": "220 2.0.0 go ahead",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 go ahead",
    ".": "250 2.0.0 Ok: queued as TEST",
    "RSET": "250 2.0.0 Ok",
    "NOOP": "250 2.0.0 Ok",
    "QUIT": "221 2.0.0 Bye",
}


@dataclass
class Message:
    """One message as it was accepted."""

    mail_from: str
    recipients: list[str]
    parameters: str
    """What stood behind the address of MAIL."""
    raw: bytes
    """As it came over the wire, dot-stuffed, without the final dot."""
    session: Session

    @property
    def content(self) -> bytes:
        """The message without dot-stuffing, line by line (RFC 5321 4.5.2)."""
        return b"\r\n".join(line[1:] if line[:1] == b"." else line for line in self.raw.split(b"\r\n"))


@dataclass
class _Rule:
    place: str
    say: str | bytes
    when: str
    times: int | None
    delay: float
    source: str


class _OverError(Exception):
    """The dialogue is over."""


class NextHop:
    """The server. `sessions` and `messages` hold what happened, in order."""

    CLOSE = "<close>"
    """Instead of a reply: break the connection off."""
    HANG = "<hang>"
    """Instead of a reply: say nothing, ever."""

    def __init__(
        self,
        *,
        pipelining: bool = True,
        extensions: Sequence[str] = ("SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
        tls: ssl.SSLContext | None = None,
        logins: Mapping[str, str] | None = None,
        chunk: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """`tls` makes it announce STARTTLS, `logins` (name -> password) AUTH; `chunk` splits what it says."""
        self.extensions = [*(["PIPELINING"] if pipelining else []), *extensions]
        self.tls = tls
        self.logins = logins
        self.chunk = chunk
        self.host = host
        self.port = port
        self.sessions: list[Session] = []
        self.messages: list[Message] = []
        self.refused: list[Message] = []
        """What came as far as the end of data and was not accepted."""
        self.client = ""
        """The address of the client that is being answered."""
        self.errors: list[Exception] = []
        """What a client did that no client may do; the fixture fails the test on them."""
        self._rules: list[_Rule] = []
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()

    @property
    def address(self) -> str:
        """HOST:PORT, as a configuration names it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def answer(
        self,
        place: str,
        say: str | bytes,
        *,
        when: str = "",
        times: int | None = 1,
        delay: float = 0.0,
        source: str = "",
    ) -> None:
        """Say `say` at `place` the next `times` times (None: always), if `when` stands in the command line.

        With `source` only to clients that come from this address.

        A reply of several lines is divided by "\\n" and gets its code by us; bytes go out as they are.
        """
        self._rules.append(_Rule(place, say, when, times, delay, source))

    def forget(self, when: str = "") -> None:
        """Forget what was scripted; with `when` only what was for that."""
        self._rules = [rule for rule in self._rules if when and rule.when != when]

    def take(self, place: str, line: str) -> tuple[str | bytes, float] | None:
        """The scripted answer for this place, used up."""
        for rule in self._rules:
            if rule.place == place and rule.times != 0 and rule.when in line and rule.source in ("", self.client):
                if rule.times is not None:
                    rule.times -= 1
                return rule.say, rule.delay
        return None

    async def notify(self) -> None:
        """Wake those who wait for something to happen here."""
        async with self._changed:
            self._changed.notify_all()

    async def received(self, number: int, seconds: float = 20.0) -> list[Message]:
        """All messages, as soon as there are `number` of them. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= number)
        return self.messages

    async def saw(self, verb: str, number: int = 1, seconds: float = 20.0) -> None:
        """Return when `number` commands that begin with `verb` have come in, over all sessions."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(
                lambda: sum(c.upper().startswith(verb) for s in self.sessions for c in s.commands) >= number
            )

    async def quiet(self, seconds: float = 20.0) -> None:
        """Return when no session is open."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: not any(session.open for session in self.sessions))

    async def start(self) -> NextHop:
        """Listen; the port is then in `port`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Session(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and break every session off. `start` may follow, on the same port."""
        if self._server is not None:
            self._server.close()
            self._server = None
        sessions = [session for session in self.sessions if session.task is not None]
        for session in sessions:
            session.abort()
        await asyncio.gather(*(session.task for session in sessions if session.task), return_exceptions=True)


@dataclass(eq=False)
class Session(asyncio.Protocol):
    """One connection: `commands` are the lines as they came, `source` the client's address."""

    hop: NextHop
    commands: list[str] = field(default_factory=list)
    source: tuple[str, int] = ("", 0)
    tls: bool = False
    login: str | None = None
    open: bool = True
    writes: int = 0
    """How often octets arrived: one for a pipelined group."""
    task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        if self.task is not None:
            return  # The TLS layer says it once more.
        self.source = transport.get_extra_info("peername")[:2]
        self._buffer = bytearray()
        self._more = asyncio.Event()
        self.hop.sessions.append(self)
        self.task = asyncio.get_running_loop().create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self.writes += 1
        self._buffer += data
        self._more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._more.set()

    def abort(self) -> None:
        """Break off at once."""
        self.open = False
        self._transport.abort()
        self._more.set()

    async def _until(self, end: bytes) -> bytes:
        start = 0
        while (found := self._buffer.find(end, start)) < 0:
            start = max(0, len(self._buffer) - len(end))
            await self._wait()
        taken = bytes(self._buffer[: found + len(end)])
        del self._buffer[: found + len(end)]
        return taken

    async def _wait(self) -> None:
        if not self.open:
            raise _OverError
        self._more.clear()
        await self._more.wait()

    async def _say(self, place: str, line: str = "", default: str = "") -> bool:
        """Answer; True if the answer is a positive one (2xx, 3xx)."""
        return await self._speak(*(self._scripted(place, line) or (default or ANSWERS[place], 0.0)))

    def _scripted(self, place: str, line: str) -> tuple[str | bytes, float] | None:
        self.hop.client = self.source[0]
        return self.hop.take(place, line)

    async def _speak(self, say: str | bytes, delay: float) -> bool:
        if delay:
            await asyncio.sleep(delay)
        if say == self.hop.CLOSE:
            self.abort()
            raise _OverError
        if say == self.hop.HANG:
            while True:
                await self._wait()
        await self._write(say if isinstance(say, bytes) else _wire(say))
        return say[:1] in ("2", "3", b"2", b"3")

    async def _write(self, data: bytes) -> None:
        size = self.hop.chunk or len(data)
        for start in range(0, len(data), size):
            self._transport.write(data[start : start + size])
            if self.hop.chunk:
                await asyncio.sleep(0)

    async def _run(self) -> None:
        try:
            await self._dialogue()
        except _OverError:
            pass
        except Exception as error:
            self.hop.errors.append(error)
            raise
        finally:
            self._transport.close()
            self.open = False
            await self.hop.notify()

    async def _dialogue(self) -> None:
        if not await self._say("CONNECT"):
            return
        mail_from: str | None = None
        parameters = ""
        recipients: list[str] = []
        while True:
            line = (await self._until(b"\n")).decode("utf-8", "surrogateescape")
            assert line.endswith("\r\n"), f"command line without CRLF: {line!r}"
            line = line[:-2]
            self.commands.append(line)
            await self.hop.notify()
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                await self._say("EHLO", line, "250 " + "\n".join(["next.hop.test", *self._announced()]))
            elif verb == "STARTTLS" and self.hop.tls:
                if await self._say("STARTTLS"):
                    await self._start_tls(self.hop.tls)
            elif verb == "AUTH" and self.hop.logins is not None:
                await self._auth(line)
            elif verb == "MAIL":
                found = re.fullmatch(r"MAIL FROM:<(.*?)>((?: \S+)*)", line, re.I)
                assert found, f"not a MAIL command: {line!r}"
                if await self._say("MAIL", line):
                    mail_from, parameters, recipients = found[1], found[2].strip(), []
            elif verb == "RCPT":
                # RFC 3461 4.1: only who announces DSN may be given parameters.
                allowed = r"(?: .*)?" if "DSN" in self.hop.extensions else ""
                found = re.fullmatch(rf"RCPT TO:<(.*?)>{allowed}", line, re.I)
                assert found, f"not a RCPT command: {line!r}"
                default = "" if mail_from is not None else "503 5.5.1 need MAIL"
                if await self._say("RCPT", line, default):
                    recipients.append(found[1])
            elif verb == "DATA":
                default = "" if recipients else "503 5.5.1 need RCPT"
                if await self._say("DATA", line, default):
                    if not self._buffer:
                        await self._wait()
                    if (scripted := self._scripted("BODY", "")) is not None:
                        await self._speak(*scripted)
                    self._buffer[:0] = b"\r\n"  # The CRLF of the DATA command begins the first line.
                    raw = (await self._until(b"\r\n.\r\n"))[2:-3]
                    self.commands.append(".")
                    message = Message(mail_from or "", list(recipients), parameters, raw, self)
                    say, delay = self._scripted(".", line) or (ANSWERS["."], 0.0)
                    accepted = bool(recipients) and say[:1] in ("2", b"2")
                    (self.hop.messages if accepted else self.hop.refused).append(message)
                    await self._speak(say, delay)
                    await self.hop.notify()
                    mail_from, recipients = None, []
            elif verb == "QUIT":
                await self._say("QUIT")
                return
            elif verb in ("HELO", "RSET", "NOOP"):
                mail_from, recipients = None, []
                await self._say(verb, line)
            else:
                await self._write(b"500 5.5.2 what?\r\n")

    def _announced(self) -> list[str]:
        lines = list(self.hop.extensions)
        if self.hop.tls and not self.tls:
            lines.append("STARTTLS")
        if self.hop.logins is not None:
            lines.append("AUTH PLAIN LOGIN")
        return lines

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(self._transport, self, context, server_side=True)
        except OSError as error:
            raise _OverError from error
        if transport is None:
            raise _OverError
        self._transport, self.tls = transport, True

    async def _auth(self, line: str) -> None:
        words = line.split(" ")
        if words[1].upper() == "PLAIN":
            _, name, password = base64.b64decode(words[2]).decode().split("\0")
        else:
            name = base64.b64decode(words[2]).decode()
            await self._write(b"334 UGFzc3dvcmQ6\r\n")
            password = base64.b64decode(await self._until(b"\r\n")).decode()
        assert self.hop.logins is not None
        if self.hop.logins.get(name) == password:
            self.login = name
            await self._say("AUTH", line)
        else:
            await self._write(b"535 5.7.8 no\r\n")


def _wire(say: str) -> bytes:
    code, text = say[:3], say[4:].split("\n")
    return "".join([f"{code}-{line}\r\n" for line in text[:-1]] + [f"{code} {text[-1]}\r\n"]).encode()
