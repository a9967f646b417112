"""Delivery to the smarthosts of one pool: which host, which connection, and what to do when one breaks.

A message is tried again, on a new connection or at another host, as long as it is certain that nobody has accepted it;
from another address or at another host for those recipients for whom our address was refused, and only for them.
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
from outbound_guard.delivery.attempt import Attempt
from outbound_guard.delivery.classes import refuses_us
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
Refused = Callable[[str, str, Reply], None]
_Waiting = asyncio.Future[tuple[Host, Connection] | Reply | None]


class Smarthosts:
    """The smarthosts of one [[delivery.pool]], used in turn; those that fail are left alone for a while."""

    def __init__(
        self,
        pool: Pool,
        *,
        hostname: str,
        clock: Clock,
        count: Count,
        refused: Refused = lambda *_: None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """Paths in `pool` must be absolute. Raises ConfigError (password, certificates, addresses).

        `count("next_hop_events_total", event)` is called for: opened; connect, timeout, greeting, tls, auth (no
        session could be set up); broken, timeout, malformed, going_away (a session ended before its answer); stale (a
        reused connection was found closed: tried again on a new one); unknown (no answer to the end of data);
        our_address (our own address was refused); busy (no connection became free). `wait_seconds`: how long a sender
        waits for one. `refused(next hop, source address, reply)` is called when our address was refused; the address is
        empty if the system chose it.
        """
        if not pool.smarthosts:
            raise ConfigError(f"delivery.pool {pool.name!r}: no smarthost is named")
        self._terms = terms_of(pool, hostname)
        self._hosts = [host_of(name, pool, clock) for name in pool.smarthosts]
        self._count, self._tell_refused = count, refused
        self._wait_seconds = wait_seconds
        self._next = 0
        self._waiting: deque[tuple[_Waiting, Attempt]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_gone: asyncio.Event | None = None

    def healthy(self) -> bool:
        """True if at least one host is thought to work."""
        return any(host.healthy() for host in self._hosts)

    def health(self) -> list[Health]:
        """Every host, in the order of the configuration."""
        return [host.health() for host in self._hosts]

    def rest(self, addresses: frozenset[str]) -> None:
        """Send from the other addresses of the pool; where there is no other, these are used all the same."""
        for host in self._hosts:
            host.rest(addresses)

    async def send(self, envelope: Envelope, content: Sequence[bytes]) -> Result:
        """Deliver a message; one reply for each recipient. Never raises for what the network does.

        `content` is the message in pieces: CRLF line ends, not dot-stuffed; sent on byte for byte. Addresses that
        cannot stand in a command are refused here with 501, those that would need SMTPUTF8 where the next hop does
        not know it with 553 (RFC 6531 3.5). A refusal of our own address is answered for with 451 OG-LISTED.
        """
        mail = Mail(envelope, content)
        if mail.hopeless:
            return Result(tuple(reply for reply in mail.replies if reply), "")
        attempt = Attempt(mail)
        while True:
            found = self._at_hand(attempt) or await self._connection(attempt)
            if isinstance(found, Reply):
                if found is not NO_NEXT_HOP:
                    attempt.verdict = (found, "", False, "")
                return attempt.given_up()
            host, connection = found
            commands, replies = mail.commands(connection.extensions)
            if not commands:
                host.works()
                self._release(host, connection)
                if attempt.refusals is None:
                    return Result(tuple(reply for reply in replies if reply), host.name)
                attempt.failed |= {host}
                continue
            reused = connection.transactions > 0
            try:
                answers = await connection.transact(commands, mail.body)
            except Broken as broken:
                if broken.sent:
                    self._fails(host, broken.reason, "no answer to the end of data")
                    self._count(EVENTS, "unknown")
                    return attempt.unknown(BROKEN, host, connection.source or "")
                if broken.reply is not None and refuses_us(broken.reply):
                    attempt.refused(broken.reply, host, connection.source or "")
                    if self._refused(attempt, host, connection, broken.reply):
                        host.works()  # It does answer.
                        continue
                elif reused and not broken.answered and not attempt.stale and broken.reason != "timeout":
                    # It had gone stale (the other side closes idle ones, often with a 421): no failure yet.
                    self._count(EVENTS, "stale")
                    attempt.stale = True
                    attempt.fresh = host
                    continue
                self._fails(host, broken.reason, str(broken.reply or "before the end of data"))
                attempt.failed |= {host}
                reply = broken.reply
                said = (_not_closing(reply), host.name, True) if reply else (BROKEN, host.name, False)
                attempt.verdict = (*said, connection.source or "")
                if broken.reason == "timeout" or attempt.exhausted:
                    return attempt.given_up()  # The client does not wait for ever.
            except asyncio.CancelledError:
                host.probing = False
                raise
            else:
                host.works()
                if len(answers) != len(replies):
                    rest = iter(answers)
                    answers = [reply or next(rest) for reply in replies]
                source, refusal = connection.source or "", None
                if connection.refused or attempt.refusals:
                    refusal = attempt.note(answers, host, source)
                if refusal is not None:
                    self._refused(attempt, host, connection, refusal)
                self._release(host, connection)
                if attempt.refusals is None:
                    return Result(tuple(answers), host.name, source=source)
                if attempt.refusals.settled or attempt.exhausted:
                    return attempt.given_up()
                if attempt.fresh is None:
                    attempt.failed |= {host}

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

    def _at_hand(self, attempt: Attempt) -> tuple[Host, Connection] | None:
        """The short way: an idle connection to the host whose turn it is."""
        turn = (self._next + 1) % len(self._hosts)
        host = self._hosts[turn]
        if attempt.fresh is not None or host in attempt.failed or (connection := host.take()) is None:
            return None
        self._next = turn
        return host, connection

    async def _connection(self, attempt: Attempt) -> tuple[Host, Connection] | Reply:
        """A connection (a new one to `attempt.fresh`, if possible), or the reply that says why there is none."""
        end = 0.0
        fresh, attempt.fresh = attempt.fresh, None
        while not self._closed and not attempt.exhausted:
            host = fresh if fresh is not None and fresh.may_open() else None
            fresh = None
            busy = False
            for _ in self._hosts:
                if host is not None:
                    break
                self._next = (self._next + 1) % len(self._hosts)
                candidate = self._hosts[self._next]
                if attempt.shuns(candidate):
                    continue
                connection = candidate.take()
                if connection is not None:
                    return candidate, connection
                if candidate.may_open() and candidate not in attempt.unreachable:
                    host = candidate
                busy = busy or candidate.alive()
            if host is not None:
                opened = await self._open(attempt, host)
                if opened is not None:
                    return host, opened
                continue
            if not busy:
                return NO_NEXT_HOP
            now = asyncio.get_running_loop().time()
            end = end or now + self._wait_seconds
            given = await self._wait(attempt, end - now)
            if given is not None:
                return given
        return BUSY

    async def _open(self, attempt: Attempt, host: Host) -> Connection | None:
        """A new connection, or None: then `attempt` knows what is in the way."""
        host.opening += 1
        host.probing = host.failures > 0
        source, connection = host.source(), None
        try:
            connection = await connect(self._terms, host.host, host.port, source, partial(self._lost, host))
        except UnreachableError as error:
            if error.reply is not None and refuses_us(error.reply):
                attempt.refused(error.reply, host, source or "")
                if self._refuses(host, source, error.reply):
                    return None  # It is tried from the next address.
            self._fails(host, error.reason, str(error))
            attempt.unreachable |= {host}
            return None
        finally:
            host.opening -= 1
            if connection is None:
                host.probing = False
                self._wake()
        connection.source = source
        host.connections.add(connection)
        self._count(EVENTS, "opened")
        if self._closed:
            connection.quit()
            return None
        if self._sweeper is None:
            self._sweep()
        return connection

    async def _wait(self, attempt: Attempt, seconds: float) -> tuple[Host, Connection] | Reply | None:
        """A connection that became free, BUSY after `seconds`, or None: look again."""
        loop = asyncio.get_running_loop()
        future: _Waiting = loop.create_future()
        self._waiting.append((future, attempt))
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
        """Hand the connection to whoever waits longest and can use it, else keep it."""
        if connection.closed:
            return
        if (
            self._closed
            or connection.transactions >= MESSAGES
            or ((host.refused or host.resting) and host.avoids(connection.source))
        ):
            connection.quit()
            return
        if not self._waiting:
            host.put(connection)
            return
        waiting, passed_over = self._waiting, []
        while waiting:
            future, attempt = waiting.popleft()
            if future.done():
                continue
            if not attempt.shuns(host):
                future.set_result((host, connection))
                break
            passed_over.append((future, attempt))
        else:
            host.put(connection)
        if passed_over:
            waiting.extendleft(reversed(passed_over))

    def _lost(self, host: Host, connection: Connection) -> None:
        host.forget(connection)
        self._wake()

    def _wake(self) -> None:
        """A place has become free, or a hope has gone: all who wait look again, in their order."""
        if self._all_gone is not None and not any(host.alive() for host in self._hosts):
            self._all_gone.set()
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            _resolve(future, None)

    def _refused(self, attempt: Attempt, host: Host, connection: Connection, reply: Reply) -> bool:
        """A host has refused our address. True if it is to be tried from another one."""
        another = self._refuses(host, connection.source, reply)
        if another:
            attempt.wary |= {host}
            attempt.fresh = host
        return another

    def _refuses(self, host: Host, source: str | None, reply: Reply) -> bool:
        self._count(EVENTS, "our_address")
        self._tell_refused(host.name, source or "", reply)
        return host.refuses(source, str(reply))

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


def _resolve(future: _Waiting, value: Reply | None) -> None:
    if not future.done():
        future.set_result(value)


def _not_closing(reply: Reply) -> Reply:
    """The 421 of a next hop as 451: it closes its session with us, we do not close ours with the client."""
    return Reply(451, reply.enhanced, reply.text)
