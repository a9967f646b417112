"""Delivery to the smarthosts of one pool: which host, which connection, and what to do when one breaks.

A message is tried again, on a new connection or at another host, as long as it is certain that nobody has accepted it.
Once its final dot is out and no answer came, it may have been: the caller is told 451, and the client or our queue
sends it again. It may then arrive twice; it is never lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from outbound_guard.clock import Clock
from outbound_guard.config import ConfigError, Pool
from outbound_guard.delivery.connecting import UnreachableError, connect, terms_of
from outbound_guard.delivery.connection import Broken, Connection
from outbound_guard.delivery.pool import MESSAGES, Health, Host, host_of
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.wire import Mail
from outbound_guard.mail import Envelope
from outbound_guard.reply import NO_NEXT_HOP, Reply

WAIT_SECONDS = 30.0
CLOSE_SECONDS = 5.0
SWEEP_SECONDS = 1.0
EVENTS = "next_hop_events_total"

BROKEN = Reply(451, "4.4.2", "OG-BROKEN the connection to the next hop broke, please try again")
BUSY = Reply(451, "4.3.2", "OG-BUSY all connections to the next hop are busy, please try again")

Count = Callable[..., None]
_Waiting = asyncio.Future[tuple[Host, Connection] | Reply | None]


class Smarthosts:
    """The smarthosts of one [[delivery.pool]], used in turn; those that fail are left alone for a while."""

    def __init__(
        self, pool: Pool, *, hostname: str, clock: Clock, count: Count, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        """Paths in `pool` must be absolute. Raises ConfigError (password, certificates, addresses).

        `count("next_hop_events_total", event)` is called for: opened; connect, timeout, greeting, tls, auth (no
        session could be set up); broken, timeout, malformed, going_away (a session ended before its answer); stale (a
        reused connection was found closed: tried again on a new one); unknown (no answer to the end of data); busy (no
        connection became free). `wait_seconds`: how long a sender waits for one.
        """
        if not pool.smarthosts:
            raise ConfigError(f"delivery.pool {pool.name!r}: no smarthost is named")
        self._terms = terms_of(pool, hostname)
        self._hosts = [host_of(name, pool, clock) for name in pool.smarthosts]
        self._count = count
        self._wait_seconds = wait_seconds
        self._next = 0
        self._waiting: deque[_Waiting] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_gone: asyncio.Event | None = None

    def healthy(self) -> bool:
        """True if at least one host is thought to work."""
        return any(host.healthy() for host in self._hosts)

    def health(self) -> list[Health]:
        """Every host, in the order of the configuration."""
        return [host.health() for host in self._hosts]

    async def send(self, envelope: Envelope, content: Sequence[bytes]) -> Result:
        """Deliver a message; one reply for each recipient. Never raises for what the network does.

        `content` is the message in pieces: CRLF line ends, not dot-stuffed; sent on byte for byte. Addresses that
        cannot stand in a command are refused here with 501, those that would need SMTPUTF8 where the next hop does
        not know it with 553 (RFC 6531 3.5).
        """
        mail = Mail(envelope, content)
        if mail.hopeless:
            return Result(tuple(reply for reply in mail.replies if reply), "")
        excluded = _Excluded()
        fresh: Host | None = None
        verdict = (NO_NEXT_HOP, "", False)
        while True:
            found = self._at_hand(excluded, fresh) or await self._connection(excluded, fresh)
            if isinstance(found, Reply):
                return _alike(mail, *(verdict if found is NO_NEXT_HOP else (found, "", False)))
            host, connection = found
            fresh = None
            commands, replies = mail.commands(connection.extensions)
            if not commands:
                host.works()
                self._release(host, connection)
                return Result(tuple(reply for reply in replies if reply), host.name)
            reused = connection.transactions > 0
            try:
                answers = await connection.transact(commands, mail.body)
            except Broken as broken:
                if broken.sent:
                    self._fails(host, broken.reason, "no answer to the end of data")
                    self._count(EVENTS, "unknown")
                    return _alike(mail, BROKEN, host.name, False)
                if reused and not broken.answered and not excluded.stale and broken.reason != "timeout":
                    # It had gone stale (the other side closes idle ones, often with a 421): no failure yet.
                    self._count(EVENTS, "stale")
                    excluded.stale = True
                    fresh = host
                    continue
                self._fails(host, broken.reason, str(broken.reply or "before the end of data"))
                excluded.failed |= {host}
                verdict = (_not_closing(broken.reply), host.name, True) if broken.reply else (BROKEN, host.name, False)
                if broken.reason == "timeout":
                    return _alike(mail, *verdict)  # The client does not wait for ever.
            except asyncio.CancelledError:
                host.probing = False
                raise
            else:
                host.works()
                self._release(host, connection)
                if len(answers) == len(replies):
                    return Result(tuple(answers), host.name)
                rest = iter(answers)
                return Result(tuple(reply or next(rest) for reply in replies), host.name)

    async def close(self) -> None:
        """Take leave of all hosts; transactions under way break. Takes at most 5 s."""
        self._closed = True
        for host in self._hosts:
            host.close()
        self._wake()
        if any(host.alive() for host in self._hosts):
            self._all_gone = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._all_gone.wait()
        for host in self._hosts:
            for connection in list(host.connections):
                connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _at_hand(self, excluded: _Excluded, fresh: Host | None) -> tuple[Host, Connection] | None:
        """The short way: an idle connection to the host whose turn it is."""
        turn = (self._next + 1) % len(self._hosts)
        host = self._hosts[turn]
        if fresh is not None or host in excluded.failed or (connection := host.take()) is None:
            return None
        self._next = turn
        return host, connection

    async def _connection(self, excluded: _Excluded, fresh: Host | None) -> tuple[Host, Connection] | Reply:
        """A connection (a new one to `fresh`, if possible), or the reply that says why there is none."""
        end = 0.0
        while not self._closed:
            host = fresh if fresh is not None and fresh.may_open() else None
            fresh = None
            busy = False
            for _ in self._hosts:
                if host is not None:
                    break
                self._next = (self._next + 1) % len(self._hosts)
                candidate = self._hosts[self._next]
                if candidate in excluded.failed:
                    continue
                connection = candidate.take()
                if connection is not None:
                    return candidate, connection
                if candidate.may_open() and candidate not in excluded.unreachable:
                    host = candidate
                busy = busy or candidate.alive()
            if host is not None:
                opened = await self._open(host)
                if opened is not None:
                    return host, opened
                excluded.unreachable |= {host}
                continue
            if not busy:
                return NO_NEXT_HOP
            now = asyncio.get_running_loop().time()
            end = end or now + self._wait_seconds
            given = await self._wait(end - now)
            if given is not None:
                return given
        return BUSY

    async def _open(self, host: Host) -> Connection | None:
        host.opening += 1
        host.probing = host.failures > 0
        connection = None
        try:
            connection = await connect(self._terms, host.host, host.port, host.source(), partial(self._lost, host))
        except UnreachableError as error:
            self._fails(host, error.reason, str(error))
            return None
        finally:
            host.opening -= 1
            if connection is None:
                host.probing = False
                self._wake()
        host.connections.add(connection)
        self._count(EVENTS, "opened")
        if self._closed:
            connection.quit()
            return None
        if self._sweeper is None:
            self._sweep()
        return connection

    async def _wait(self, seconds: float) -> tuple[Host, Connection] | Reply | None:
        """A connection that became free, BUSY after `seconds`, or None: look again."""
        loop = asyncio.get_running_loop()
        future: _Waiting = loop.create_future()
        self._waiting.append(future)
        timer = loop.call_later(seconds, _resolve, future, BUSY)
        try:
            given = await future
        except asyncio.CancelledError:
            if not future.cancelled() and isinstance(late := future.result(), tuple):
                self._release(*late)
            raise
        finally:
            timer.cancel()
        if given is BUSY:
            self._count(EVENTS, "busy")
        return given

    def _release(self, host: Host, connection: Connection) -> None:
        """Hand the connection to whoever waits longest, else keep it."""
        if connection.closed:
            return
        if self._closed or connection.transactions >= MESSAGES:
            connection.quit()
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result((host, connection))
                return
        host.put(connection)

    def _lost(self, host: Host, connection: Connection) -> None:
        host.forget(connection)
        self._wake()

    def _wake(self) -> None:
        """A place has become free, or a hope has gone: all who wait look again, in their order."""
        if self._all_gone is not None and not any(host.alive() for host in self._hosts):
            self._all_gone.set()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            _resolve(future, None)

    def _fails(self, host: Host, reason: str, text: str) -> None:
        self._count(EVENTS, reason)
        host.fails(reason, text)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for host in self._hosts:
            host.sweep(loop.time())
        self._sweeper = None
        if any(host.alive() for host in self._hosts):
            interval = min(SWEEP_SECONDS, self._terms.reply_seconds / 4)
            self._sweeper = loop.call_later(interval, self._sweep)


class _Excluded:
    """What one message need not try again."""

    __slots__ = ("failed", "stale", "unreachable")

    def __init__(self) -> None:
        self.failed: frozenset[Host] = frozenset()
        """A transaction broke there."""
        self.unreachable: frozenset[Host] = frozenset()
        """No connection could be opened; one that others have opened will do."""
        self.stale = False
        """True if one reused connection has been found broken."""


def _resolve(future: _Waiting, value: Reply | None) -> None:
    if not future.done():
        future.set_result(value)


def _alike(mail: Mail, reply: Reply, peer: str, reached: bool) -> Result:
    """`reply` for every recipient that has none yet."""
    return Result(tuple(known or reply for known in mail.replies), peer, reached)


def _not_closing(reply: Reply) -> Reply:
    """The 421 of a next hop as 451: it closes its session with us, we do not close ours with the client."""
    return Reply(451, reply.enhanced, reply.text)
