"""Octets in, octets out: the tuned subclass of aiosmtpd's server, below the command line.

What is aiosmtpd's here: the protocol class itself, the naming of commands (`smtp_X`), `handle_exception`, and the
dialogues of AUTH (in `session`). Replaced, because the measurements ask for it (each is a cost per connection, command
or line of text): the constructor, the StreamReader, the command loop, `push`, and the timer of each command. One
coroutine runs per session, as in aiosmtpd; it is woken only by commands that may have to wait for something and by
the end of a message, not by its chunks, nor by the commands that lead up to it (in `transaction`).
"""

from __future__ import annotations

import abc
import asyncio
import ssl
from typing import cast

from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import Session as Peer

from outbound_guard.edge import answers
from outbound_guard.edge.data import DataReader
from outbound_guard.edge.ends import Closed
from outbound_guard.edge.opening import opened, shake_hands, turn_away
from outbound_guard.edge.terms import Terms

_BUFFERED = 65_536
"""Octets of commands waiting from which on no more is read from the client."""
_MUCH = 131_072
"""Octets that came in at once from which on there is probably more to come at once."""
_LINGER = 10.0
"""Seconds a client gets to take our last words before the connection is reset."""


class Wire(SMTP, abc.ABC):
    """One connection: octets in, replies out, in as few system calls as possible.

    What the octets are is the business of `lines.Lines`, what is said with them that of `session.Session`.
    """

    client_ip = ""
    client_port = 0
    # All there is to say about a connection is set here, and on the instance only when it differs.
    session: Peer | None = None
    envelope = None
    transport: asyncio.Transport | None = None
    _handler_coroutine: asyncio.Task[None] | None = None
    _waiter: asyncio.Future[None] | None = None
    _unblocked: asyncio.Future[None] | None = None
    _incoming: DataReader | None = None
    _ending: bytes | None = None
    _since = 0.0
    _line_since = 0.0
    _heard = 0.0
    _started = 0.0
    _closing_since = 0.0
    _turns = 0
    known = True
    """False if whoever handed the connection on could not say for whom it is; then nobody is trusted."""
    gone = False
    """True once the connection is lost."""
    _eof = False
    _news = False
    _reading_paused = False
    _writing_blocked = False
    _line_too_long = False
    _hears_commands = False
    """True if what the coroutine waits for, if it waits, is a command."""
    _message: DataReader | None = None
    """The message that is coming in, and while `_incoming` is None: has come in and is not taken yet."""

    def __init__(self, terms: Terms) -> None:
        # SMTP.__init__ is left out on purpose, see private.py.
        self.terms = terms
        self.loop = asyncio.get_running_loop()
        self.unread = bytearray()
        self._out: list[bytes] = []

    # -- What asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected, or a load balancer on behalf of one."""
        self.transport = transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if not peer:
            # It has gone again already.
            transport.abort()
            return
        address = peer[0].partition("%")[0]
        self.client_ip = address[7:] if address.startswith("::ffff:") and "." in address else address
        self.client_port = peer[1]
        terms = self.terms
        proxied = terms.speaks_for_others is not None and terms.speaks_for_others(self.client_ip)
        refusal = terms.sessions.enter(self, counted=not proxied)
        if refusal is not None:
            turn_away(self, *refusal)
            return
        terms.count("smtp_sessions_total", terms.name)
        if proxied or terms.tls_first is not None:
            self._handler_coroutine = self.loop.create_task(self._opened(proxied))
        else:
            self._handler_coroutine = self.loop.create_task(self._handle_client())

    def data_received(self, data: bytes) -> None:
        """Octets have come: of a message, or of commands."""
        if self._incoming is not None:
            self._heard = self.loop.time()
            if len(data) >= _MUCH and self.transport is not None:
                # libuv would go on reading as long as so much comes; the others get their turn first.
                self.transport.pause_reading()
                self.loop.call_soon(self._read_on)
            if self._incoming.feed(data):
                self._incoming = None
                self._news = True
                self._wake()
            return
        if self._closing_since:
            return
        if self._waiter is not None:
            if self._hears_commands and not (self.unread or self._writing_blocked or self.terms.sessions.stopping):
                self.obey_at_once(data)
            else:
                self.leave(data)
            return
        self.unread += data
        self._news = True
        if len(self.unread) > _BUFFERED and not self._reading_paused and self.transport is not None:
            self._reading_paused = True
            self.transport.pause_reading()

    def _read_on(self) -> None:
        if self.transport is not None and not self._reading_paused:
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        """The client will send no more; it may still read, so what it has sent is answered."""
        self._eof = True
        self._wake()
        if self._closing_since:
            return False
        # A TLS connection cannot stay half open; asyncio warns of True there.
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone. A message that is being accepted is finished all the same: its fate is decided."""
        self.gone = True
        self.terms.sessions.leave(self)
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client reads too slowly: it gets no further commands answered until it has caught up."""
        self._writing_blocked = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writing_blocked = False
        if self._unblocked is not None and not self._unblocked.done():
            self._unblocked.set_result(None)

    # -- What `Sessions` calls ---------------------------------------------------------------------------------------

    def check_time(self, now: float) -> None:
        """End the session if the client has kept it waiting too long; `now` is the loop's time in seconds."""
        limits = self.terms.limits
        if self._closing_since:
            if now - self._closing_since > _LINGER:
                self.abort()
        elif self._waiter is not None:
            late = now - self._since > limits.idle_seconds
            if self._incoming is not None:
                late = now - self._heard > limits.idle_seconds or now - self._started > limits.data_seconds
            if late:
                self.terms.count("smtp_timeouts_total", "command" if self._incoming is None else "data")
                self._end(answers.TIMED_OUT)
        elif self._unblocked is not None and now - self._since > limits.idle_seconds:
            self.terms.count("smtp_timeouts_total", "reply")
            self.abort()

    def stop(self) -> None:
        """Answer 421 and close as soon as no message is under way."""
        if self._closing_since:
            if self.transport is not None:
                self.transport.close()
        elif self._waiter is not None and self._incoming is None and self.at_rest:
            self._end(answers.STOPPING)

    def cut_off(self) -> None:
        """Answer 421 and close now, if it is the client that is waited for; else close at once."""
        if self._waiter is not None and not self._closing_since:
            self._end(answers.STOPPING)
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once; a message that is being accepted is given up."""
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
        if self.transport is not None:
            self.transport.abort()

    @property
    @abc.abstractmethod
    def at_rest(self) -> bool:
        """True if no mail transaction is open."""

    @abc.abstractmethod
    def obey_at_once(self, octets: bytes) -> None:
        """Carry out commands that wait for nothing; `leave` the rest."""

    @abc.abstractmethod
    def encrypted(self) -> None:
        """Note that a TLS layer lies below from now on."""

    # -- What the commands use ---------------------------------------------------------------------------------------

    def say(self, answer: bytes) -> None:
        """Add a reply to those of this turn; they are sent when the client's next words are waited for."""
        self._out.append(answer)

    async def push(self, status: str | bytes) -> None:
        """The same for aiosmtpd's own methods, which leave the line end to it."""
        self.say((status.encode() if isinstance(status, str) else status) + b"\r\n")

    def flush(self) -> None:
        """Send the replies of this turn, in one write."""
        out, transport = self._out, self.transport
        if out:
            if transport is not None and not transport.is_closing():
                transport.write(b"".join(out))
            out.clear()

    def leave(self, octets: bytes, error: Exception | None = None) -> None:
        """Leave what came in, or the fault that it led to, to the coroutine; if there is nothing it sleeps on."""
        self.unread += octets
        if octets or error is not None or (self._message is not None and self._incoming is None):
            self._news = True
            self._wake(error)
        else:
            self.flush()
            self._since = self._line_since = self.loop.time()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Turn to TLS. Raises Closed if the handshake fails."""
        self.flush()
        if self.transport is None:
            raise Closed
        # CVE-2024-34083: what came in clear behind STARTTLS must not be taken for the words of the secured client.
        self.unread.clear()
        self._reading_paused = False
        self._turns = 0
        await shake_hands(self, context)

    # -- Waiting, and the end ----------------------------------------------------------------------------------------

    async def _opened(self, proxied: bool) -> None:
        if await opened(self, proxied):
            await self._handle_client()
        elif self.transport is not None:
            self.transport.close()

    def _hang_up(self) -> None:
        """Close, so that our last words arrive.

        Octets that come in after closing reset the connection, and a reset can overtake the reply. Where the client
        seems to have more to say it is therefore let finish, unheard and for a few seconds.
        """
        self._closing_since = self.loop.time()
        self._incoming = None
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        more = self.unread or self._reading_paused
        self.unread.clear()
        if more and not self._eof and not self.terms.sessions.stopping and transport.can_write_eof():
            transport.write_eof()
            if self._reading_paused:
                transport.resume_reading()
        else:
            transport.close()

    async def wait(self, since: float = 0.0) -> None:
        """Send what there is to say, and come back when something has come in (or, for a message, its end).

        `since`: when the client's time began; 0: now. Raises Closed.
        """
        self._turns = 0
        self.flush()
        if self._writing_blocked:
            self._news = False
            await self._writable()
            if self._news:
                return
        if self.gone or self._eof:
            raise Closed
        if self._reading_paused and self.transport is not None:
            self._reading_paused = False
            self.transport.resume_reading()
        self._since = self._line_since = since or self.loop.time()
        self._waiter = self.loop.create_future()
        await self._waiter
        if self._ending is not None:
            self.say(self._ending)
            raise Closed

    async def _writable(self) -> None:
        while self._writing_blocked and not self.gone:
            self._since = self.loop.time()
            self._unblocked = self.loop.create_future()
            await self._unblocked
            self._unblocked = None

    def _wake(self, error: Exception | None = None) -> None:
        """Let the coroutine go on, or raise this error in it."""
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def _end(self, answer: bytes) -> None:
        self._ending = answer
        self._wake()
