"""One connection to a next hop: pipelined mail transactions (RFC 5321, RFC 2920) on a session that is set up already.

    COMMANDS   MAIL, RCPT..., DATA are out; with PIPELINING in one write, else one after the other
    BODY       the message and its final dot are out: from here on a break leaves open whether it was accepted
    SETTLING   after a refusal: RSET is out (before it a lone dot, if DATA was granted for nobody)
    READY      nothing is awaited; the next transaction may come
    QUITTING, CLOSED

The whole transaction runs inside `data_received`; its sender waits for one future only.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import cast

from outbound_guard.delivery.replies import MalformedError, ReplyReader, reply_of
from outbound_guard.delivery.wire import Extensions
from outbound_guard.reply import Reply

QUIT_SECONDS = 5.0
SLOWEST = 1_000.0
"""Octets a second: to one that takes a message more slowly it would be sent for days, and nobody be told."""
_REMEMBERED = 1_000
"""Octets of an answer to a group of commands up to which it is."""


class Broken(Exception):  # noqa: N818 - it names what happened to the connection, as the log does.
    """The connection ended before the transaction had its final answer."""

    def __init__(self, reason: str, *, sent: bool, answered: bool, reply: Reply | None = None) -> None:
        """`reason`: broken | timeout | malformed | going_away."""
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        """True if the final dot was written: the next hop may have the message."""
        self.answered = answered
        """True if any reply of this transaction had come."""
        self.reply = reply
        """The next hop's 421, if it said so."""


# The phases; plain numbers, since they are compared several times a message.
_READY, _COMMANDS, _BODY, _SETTLING, _QUITTING, _CLOSED = range(6)


class Connection(asyncio.Protocol):
    """The transaction protocol; `transact` is its one verb. One transaction at a time."""

    def __init__(
        self,
        transport: asyncio.Transport,
        extensions: Extensions,
        reply_seconds: float,
        lost: Callable[[Connection], None],
        final_seconds: float = 0.0,
    ) -> None:
        """Take over `transport`; `lost` is called once, when the connection can be used no more.

        `reply_seconds` for every reply; for that to the end of data `final_seconds`, if that is more.
        """
        self.extensions = extensions
        self.transactions = 0
        self.source: str | None = None
        """The local address we have bound, set by the pool; None if the system has picked it."""
        self.refused = False
        """True if a reply of the last transaction was a negative one."""
        self.idle_since = 0.0
        """Set by the pool."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._reply_seconds = reply_seconds
        self._final_seconds = max(final_seconds, reply_seconds)
        self._until = math.inf
        self._lost = lost
        self._reader = ReplyReader()
        self._phase = _READY
        self._future: asyncio.Future[list[Reply]] | None = None
        self._commands: list[bytes] = []
        self._body: list[bytes] = []
        self._answers: list[Reply | None] = []
        self._unsettled = 0
        self._unsent = 0
        self._deadline = 0.0
        self._granted = b""
        self._granted_of = 0
        transport.set_protocol(self)

    @property
    def ready(self) -> bool:
        """True if a transaction may be begun and has a chance."""
        return (self._phase == _READY or self._phase == _SETTLING) and not self._transport.is_closing()

    @property
    def closed(self) -> bool:
        """True if the connection can be used no more."""
        return self._phase == _CLOSED

    async def transact(self, commands: list[bytes], body: list[bytes], until: float = math.inf) -> list[Reply]:
        """Carry out MAIL, RCPT..., DATA (`commands`) and the message in wire form; one reply for each RCPT.

        After `until` (time of the loop) the message is not begun any more. Raises Broken. If the caller is cancelled
        the connection is closed.
        """
        if self._phase not in (_READY, _SETTLING) or self._future is not None:
            raise Broken("broken", sent=False, answered=False)
        self.transactions += 1
        self.refused = False
        self._commands, self._body, self._answers, self._until = commands, body, [], until
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        self._future = future
        if self._phase == _READY:
            self._begin()
        try:
            return await future
        except asyncio.CancelledError:
            self._fail("broken")
            raise
        finally:
            self._future = None
            self._commands = self._body = []
            # What it failed with knows this frame by its traceback, and the frame would know it by this future: a ring
            # that keeps the message until the collector comes by, which in a relay is rarely.
            del future

    def quit(self) -> None:
        """Take leave (RFC 5321 4.1.1.10) and close; a transaction under way breaks."""
        if self._phase not in (_READY, _SETTLING) or self._future is not None:
            self._fail("broken")
            return
        self._phase = _QUITTING
        self._deadline = self._loop.time() + QUIT_SECONDS
        self._transport.write(b"QUIT\r\n")

    def abort(self) -> None:
        """Close at once."""
        self._fail("broken")

    def check(self, now: float) -> None:
        """Give the connection up if its answer is overdue. `now` is the loop's time; called about once a second."""
        if self._phase in (_READY, _CLOSED) or now < self._deadline:
            return
        unsent = self._transport.get_write_buffer_size() if self._phase == _BODY else 0
        if unsent and self._unsent - unsent >= SLOWEST * self._final_seconds:
            # A large message over a slow line: as long as it goes forward, the answer cannot be overdue.
            self._unsent = unsent
            self._deadline = now + self._final_seconds
            return
        self._fail("timeout")

    def data_received(self, data: bytes) -> None:
        """Go on with the transaction for every reply that is complete."""
        if self._phase == _COMMANDS and not self._answers and self._all_granted(data):
            self._answers = [None] * len(self._commands)
            self._send_body()
            return
        try:
            for code, lines in self._reader.feed(data):
                if self._phase == _COMMANDS:
                    self._answer(code, lines)
                elif self._phase == _BODY:
                    self._end(code, lines)
                elif self._phase == _SETTLING and code != 421:
                    self._settle(code)
                else:
                    # 221 to QUIT, or a 421 out of the blue: it closes, and so do we.
                    self._unasked(code, lines)
                if self._phase == _CLOSED:
                    return
        except MalformedError:
            self._fail("malformed")

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side, or we, closed."""
        self._fail("broken")

    def _begin(self) -> None:
        self._phase = _COMMANDS
        self._deadline = min(self._loop.time() + self._reply_seconds, self._until)
        self._transport.write(b"".join(self._commands) if self.extensions.pipelining else self._commands[0])

    def _all_granted(self, data: bytes) -> bool:
        """True if `data` is the plainest answer to a group: one line each, all positive. It is also the most frequent.

        What is not seen here is read reply by reply. It is the same octets every time, so the last one is remembered.
        """
        number = len(self._commands)
        if not self.extensions.pipelining or not self._reader.untouched:
            return False
        if data == self._granted and number == self._granted_of:
            return True
        if data.count(b"\n") != number:
            return False
        lines = data.split(b"\r\n")
        if len(lines) != number + 1 or lines.pop() or lines.pop()[:4] != b"354 ":
            return False
        if not all(line[:4] == b"250 " for line in lines):
            return False
        if len(data) <= _REMEMBERED:
            self._granted, self._granted_of = data, number
        return True

    def _answer(self, code: int, lines: list[bytes]) -> None:
        """A reply to MAIL, RCPT or DATA."""
        if code == 421:
            self._fail("going_away", reply_of(code, lines))
            return
        answers, commands, pipelining = self._answers, self._commands, self.extensions.pipelining
        data = len(answers) == len(commands) - 1
        positive = code == 354 if data else code < 300
        if code < 400 and not positive:
            raise MalformedError
        if (data or not pipelining) and not self._reader.empty:
            raise MalformedError  # A reply to nothing: from here on each could be taken for another's answer.
        if not positive:
            self.refused = True
        answers.append(None if positive else reply_of(code, lines))
        self._deadline = min(self._loop.time() + self._reply_seconds, self._until)
        if data:
            if positive and answers[0] is None and None in answers[1:-1]:
                self._send_body()
            else:
                self._deadline = self._loop.time() + self._reply_seconds
                # If DATA was granted for nobody, a lone dot ends it (RFC 2920 3.1).
                self._refused([b".\r\n", b"RSET\r\n"] if positive else [b"RSET\r\n"])
        elif not pipelining:
            if answers[0] is not None:
                self._refused([])  # After a refused MAIL there is nothing to reset.
            elif len(answers) == len(commands) - 1 and None not in answers[1:]:
                self._refused([b"RSET\r\n"])
            else:
                self._transport.write(commands[len(answers)])

    def _send_body(self) -> None:
        self._phase = _BODY
        self._deadline = self._loop.time() + self._final_seconds
        self._unsent = sum(map(len, self._body))
        self._transport.writelines(self._body)

    def _refused(self, settling: list[bytes]) -> None:
        """Nobody will get this message; `settling` brings the session back to where it was."""
        mail, *answers = self._answers
        count = len(self._commands) - 2
        # Whoever was accepted at RCPT was refused at DATA, the last answer.
        replies = [mail] * count if mail else [answer or answers[-1] for answer in answers[:count]]
        self._unsettled = len(settling)
        if settling:
            self._transport.write(b"".join(settling))
        self._finish(cast(list[Reply], replies))

    def _end(self, code: int, lines: list[bytes]) -> None:
        """The reply to the end of data."""
        if code == 421:
            self._fail("going_away", reply_of(code, lines))
            return
        early = self._transport.get_write_buffer_size() > 0
        if 300 <= code < 400 or (early and code < 300):
            raise MalformedError  # It cannot have accepted what it has not seen.
        if code >= 400:
            self.refused = True
        final = reply_of(code, lines)
        self._finish([answer or final for answer in self._answers[1:-1]])
        if early or not self._reader.empty:
            self._fail("malformed")

    def _finish(self, replies: list[Reply]) -> None:
        self._phase = _SETTLING if self._unsettled else _READY
        if self._future is not None and not self._future.done():
            self._future.set_result(replies)

    def _settle(self, code: int) -> None:
        """A reply to the lone dot or to RSET; the latter must be positive."""
        self._unsettled -= 1
        if self._unsettled:
            return
        if code >= 300:
            raise MalformedError
        self._phase = _READY
        if self._future is not None and not self._future.done():
            self._begin()

    def _unasked(self, code: int, lines: list[bytes]) -> None:
        self._fail("going_away" if code == 421 else "broken", reply_of(code, lines) if code == 421 else None)

    def _fail(self, reason: str, reply: Reply | None = None) -> None:
        """Close; if a transaction is under way it is Broken."""
        if self._phase == _CLOSED:
            return
        sent, self._phase = self._phase == _BODY, _CLOSED
        future = self._future
        if future is not None and not future.done():
            # A 421 is an answer to the end of data like any other refusal: the message was not taken.
            future.set_exception(Broken(reason, sent=sent and reply is None, answered=bool(self._answers), reply=reply))
        self._transport.abort()
        self._lost(self)
