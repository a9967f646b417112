"""Senders that behave like mail servers: each keeps a message until it has an answer that ends its duty.

A message is offered again and again, over new connections if need be, until it is answered 250 or 5xx at the end of
data, or every recipient is refused for good. What counts as sent is thus what a real MTA would have forgotten; whether
it arrived is for `reconcile` to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.nexthop import Message

_PAUSE = (0.05, 0.5)
"""Seconds until a message is offered again; an MTA waits for minutes, but who counts does not want to."""
_ANSWER_SECONDS = 60.0
_PER_SESSION = 20
"""Messages until a connection is given up for a new one."""
_KEY = re.compile(rb"^X-Load: (\S+) (\S+)\r$", re.M)


@dataclass
class Mail:
    """One message. Its key and the digest of its body stand in its header."""

    key: str
    mail_from: str
    recipients: list[str]
    content: bytes


@dataclass
class Answered:
    """What became of it, as its sender knows."""

    mail: Mail
    reply: str = ""
    refused: list[str] = field(default_factory=list)
    """Recipients that were refused for good."""
    tries: int = 0
    longest: float = 0.0
    """Seconds that the longest answer to an end of data took."""
    began: float = 0.0
    ended: float = 0.0
    """When it was first offered, and when its sender had got rid of it (steady seconds)."""


def mail(key: str, mail_from: str, recipients: Iterable[str], size: int, rng: random.Random) -> Mail:
    """A message of about `size` octets with dots and 8-bit octets where they hurt."""
    text = rng.randbytes(max(16, size // 2)).hex()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    lines[1:1] = [".", "..", "\u00fc."]
    body = "\r\n".join(lines).encode() + b"\r\n"
    head = f"From: <{mail_from}>\r\nX-Load: {key} {_digest(body)}\r\nSubject: load {key}\r\n\r\n"
    return Mail(key, mail_from, list(recipients), head.encode() + body)


class Load:
    """Some senders at a time, from `start` to `finish`, all in one event loop."""

    def __init__(self, address: Callable[[], str], make: Callable[[str], Mail], senders: int = 8) -> None:
        """`address` says HOST:PORT as of now; `make` writes the message for a key."""
        self.answered: dict[str, Answered] = {}
        """By key; complete when `finish` has returned."""
        self.pause = 0.0
        """Seconds that a sender rests after each message."""
        self._address, self._make = address, make
        self.number = senders
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._rng = random.Random(1)
        self._name = secrets.token_hex(4)

    async def start(self) -> None:
        """Begin to send."""
        self._tasks = [asyncio.create_task(self._send(sender)) for sender in range(self.number)]

    async def finish(self) -> dict[str, Answered]:
        """Begin no new message, and return when every sender has got rid of the one it has."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        return self.answered

    async def cancel(self) -> None:
        """Break everything off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, sender: int) -> None:
        session: _Session | None = None
        for number in itertools.count():
            if self._stopping:
                break
            one = Answered(self._make(f"{self._name}-{sender}-{number}"), began=time.monotonic())
            while not one.reply.startswith(("2", "5")):
                one.tries += 1
                try:
                    if session is None or session.messages >= _PER_SESSION:
                        if session is not None:
                            await session.quit()
                        session = None
                        session = await _Session.open(self._address())
                    await session.offer(one)
                except (OSError, EOFError):
                    one.reply = ""
                    if session is not None:
                        session.close()
                        session = None
                if not one.reply.startswith(("2", "5")):
                    await asyncio.sleep(self._rng.uniform(*_PAUSE))
            one.ended = time.monotonic()
            self.answered[one.mail.key] = one
            if self.pause:
                await asyncio.sleep(self.pause)
        if session is not None:
            await session.quit()


class _Session:
    """One SMTP session."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.messages = 0

    @classmethod
    async def open(cls, address: str) -> _Session:
        host, _, port = address.rpartition(":")
        session = cls(*await asyncio.open_connection(host, int(port)))
        try:
            if not (await session._answer()).startswith("220"):
                raise EOFError
            await session._say(b"EHLO client.test")
        except BaseException:
            session.close()
            raise
        return session

    async def offer(self, one: Answered) -> None:
        """One mail transaction; its reply is that of the end of data, or the one before it that refused all."""
        self.messages += 1
        one.reply = await self._say(b"MAIL FROM:<%b>" % one.mail.mail_from.encode())
        if not one.reply.startswith("250"):
            await self._over(one)
            return
        accepted, one.refused = 0, []
        for recipient in one.mail.recipients:
            one.reply = await self._say(b"RCPT TO:<%b>" % recipient.encode())
            accepted += one.reply.startswith("250")
            if one.reply.startswith("5"):
                one.refused.append(recipient)
        if not accepted:
            await self._over(one)
            return
        one.reply = await self._say(b"DATA")
        if not one.reply.startswith("354"):
            await self._over(one)
            return
        begun = time.monotonic()
        one.reply = await self._say(one.mail.content.replace(b"\r\n.", b"\r\n..") + b".")
        one.longest = max(one.longest, time.monotonic() - begun)
        if one.reply.startswith("421"):
            raise EOFError

    async def _over(self, one: Answered) -> None:
        if one.reply.startswith("421"):
            raise EOFError
        reply = one.reply
        await self._say(b"RSET")
        one.reply = reply

    async def quit(self) -> None:
        """Take leave."""
        with contextlib.suppress(OSError, EOFError):
            await self._say(b"QUIT")
        self.close()

    def close(self) -> None:
        """Go."""
        self._writer.close()

    async def _say(self, command: bytes) -> str:
        self._writer.write(command + b"\r\n")
        await self._writer.drain()
        return await self._answer()

    async def _answer(self) -> str:
        async with asyncio.timeout(_ANSWER_SECONDS):
            while True:
                line = await self._reader.readuntil(b"\r\n")
                if line[3:4] != b"-":
                    return line.decode(errors="replace").rstrip()


@dataclass
class Account:
    """Sent against arrived."""

    messages: int = 0
    deliveries: int = 0
    """Messages times recipients that had to arrive."""
    lost: list[str] = field(default_factory=list)
    """`key recipient` of what was answered 250 and has not arrived."""
    corrupted: list[str] = field(default_factory=list)
    duplicated: Counter[str] = field(default_factory=Counter)
    """How often too often, by `key recipient`."""
    unreported: list[str] = field(default_factory=list)
    """Keys of messages with a recipient that the next hop refused for good, of which the sender was not told."""


def reconcile(sent: Iterable[Answered], arrived: Iterable[Message], refused_by: str = "gone-") -> Account:
    """Compare what senders have got rid of with what the next hops have got.

    Mail of others is passed over. Recipients that begin with `refused_by` are those whom the next hops refuse for good:
    of them a report must have come.
    """
    account = Account()
    answered = {one.mail.key: one for one in sent}
    seen: Counter[str] = Counter()
    reported: set[str] = set()
    for message in arrived:
        found = _KEY.search(message.content)
        if not found or (key := found[1].decode()) not in answered:
            continue
        if not message.mail_from:
            reported.add(key)
            continue
        if _digest(message.content.partition(b"\r\n\r\n")[2]) != found[2].decode():
            account.corrupted.append(key)
        seen.update(f"{key} {recipient}" for recipient in message.recipients)
    for one in answered.values():
        account.messages += 1
        if not one.reply.startswith("2"):
            continue
        for recipient in one.mail.recipients:
            if recipient.startswith(refused_by):
                if one.mail.key not in reported and recipient not in one.refused:
                    account.unreported.append(one.mail.key)
                continue
            account.deliveries += 1
            times = seen[f"{one.mail.key} {recipient}"]
            if not times:
                account.lost.append(f"{one.mail.key} {recipient}")
            elif times > 1:
                account.duplicated[f"{one.mail.key} {recipient}"] = times - 1
    return account


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:24]
