"""Next hops that do the same work, and which connection a message gets: in their order, in turn, or by waiting.

Smarthosts are all of one rank. The servers of a domain have ranks (MX preferences): those of a worse one are used only
where none of a better one works.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial

import msgspec

from outbound_guard.delivery.attempt import Attempt
from outbound_guard.delivery.classes import refuses_us
from outbound_guard.delivery.connecting import UnreachableError
from outbound_guard.delivery.connection import Connection
from outbound_guard.delivery.pool import MESSAGES, Health, Host
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.turn import FINE, Outlook
from outbound_guard.reply import NO_NEXT_HOP, Reply

WAIT_SECONDS = 30.0
CLOSE_SECONDS = 5.0
SWEEP_SECONDS = 1.0
EVENTS = "next_hop_events_total"

BUSY = Reply(451, "4.3.2", "OG-BUSY all connections to the next hop are busy, please try again")
SPENT = Reply(451, "4.7.0", "OG-WARMUP every address that this could leave from has sent enough for today")
LOST = Reply(451, "4.3.5", "OG-SOURCE this machine has none of the addresses that this could leave from")
SLOW = Reply(451, "4.4.1", "OG-SLOW the next hop is slow; the message is queued")

Count = Callable[..., None]
Refused = Callable[[str, str, Reply], None]
Open = Callable[[Host, str | None, Callable[[Connection], None]], Awaitable[Connection]]
"""Opens a session with a host from a local address (None: the system's choice); the last one is called when it ends.
Raises UnreachableError."""
_Waiting = asyncio.Future[tuple[Host, Connection] | Reply | None]


class Hops:
    """Those that can take the same message. Their hosts may change; what is open stays in use."""

    def __init__(
        self,
        hosts: Iterable[Host],
        opened: Open,
        *,
        count: Count,
        refused: Refused = lambda *_: None,
        wait_seconds: float = WAIT_SECONDS,
        sweep_seconds: float = SWEEP_SECONDS,
        connections: int = 0,
    ) -> None:
        """`count`, `refused` and `wait_seconds` see Smarthosts; `connections` is the most to all of them (0: no limit
        but those of the hosts)."""
        self._open_session = opened
        self._count, self._tell_refused = count, refused
        self._wait_seconds, self._sweep_seconds, self._most = wait_seconds, sweep_seconds, connections
        self._waiting: deque[tuple[_Waiting, Attempt]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_gone: asyncio.Event | None = None
        self._gone: list[Host] = []
        self.hosts: list[Host] = []
        self.use(hosts)

    def use(self, hosts: Iterable[Host]) -> None:
        """These are the hosts from now on, at least one; what is open to others ends after its transaction."""
        before, self.hosts = self.hosts, sorted(hosts, key=lambda host: host.rank)
        for host in before:
            if host not in self.hosts:
                host.retire()
                self._gone.append(host)
        self._gone = [host for host in self._gone if host.alive() and host not in self.hosts]
        self._best = sum(host.rank == self.hosts[0].rank for host in self.hosts)
        self._next = 0

    def retire(self) -> None:
        """Nothing goes there any more."""
        for host in self.hosts:
            host.retire()

    def healthy(self) -> bool:
        """True if at least one host is thought to work."""
        return any(host.healthy() for host in self.hosts)

    def health(self) -> list[Health]:
        """Every host, in their order."""
        return [host.health() for host in self.hosts]

    def outlook(self) -> Outlook:
        """What these can take now. If all are away, one message at a time may find out whether that is still so."""
        wait = math.inf
        for host in self.hosts:
            if host.healthy():
                return FINE
            wait = min(wait, host.away())
        return Outlook(wait, most=1)

    def alive(self) -> bool:
        """True if there is a connection, or will be."""
        return any(host.alive() for host in (*self.hosts, *self._gone))

    def rest(self, addresses: frozenset[str]) -> None:
        """Send from the other addresses of the pool; where there is no other, these are used all the same."""
        for host in self.hosts:
            host.rest(addresses)

    async def close(self) -> None:
        """Take leave of all hosts; transactions under way break. Takes at most 5 s."""
        self._closed = True
        for host in (*self.hosts, *self._gone):
            host.close()
        self._wake()
        if self.alive():
            self._all_gone = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._all_gone.wait()
        for host in (*self.hosts, *self._gone):
            for connection in list(host.connections):
                connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def at_hand(self, attempt: Attempt) -> tuple[Host, Connection] | None:
        """The short way: an idle connection to the host whose turn it is."""
        turn = (self._next + 1) % self._best
        host = self.hosts[turn]
        if attempt.fresh is not None or host in attempt.failed or not host.balanced():
            return None
        if (connection := host.take()) is None:
            return None
        self._next = turn
        return host, connection

    async def connection(self, attempt: Attempt) -> tuple[Host, Connection] | Reply:
        """A connection (a new one to `attempt.fresh`, if possible), or the reply that says why there is none."""
        loop, end = asyncio.get_running_loop(), 0.0
        fresh, attempt.fresh = attempt.fresh, None
        while not self._closed and not attempt.exhausted:
            if attempt.until <= loop.time():
                return SLOW
            if all(candidate.spent() for candidate in self.hosts):
                return LOST if any(candidate.lost() for candidate in self.hosts) else SPENT
            host = fresh if fresh is not None and not fresh.retired and self._may_open(fresh) else None
            fresh = None
            busy = False
            for candidate in self._in_turn() if host is None else ():
                if attempt.shuns(candidate):
                    continue
                may_open = candidate not in attempt.unreachable and self._may_open(candidate)
                # Where an address has had more than its turn, a connection from another is opened, if that is possible.
                if not may_open or candidate.balanced():
                    connection = candidate.take()
                    if connection is not None:
                        return candidate, connection
                if may_open:
                    host = candidate
                    break
                busy = busy or candidate.alive()
            if host is not None:
                opened = await self._open(attempt, host)
                if opened is not None:
                    return host, opened
                continue
            if not busy:
                return NO_NEXT_HOP
            end = end or loop.time() + self._wait_seconds
            given = await self._wait(attempt, min(end, attempt.until) - loop.time())
            if given is not None:
                return given
        return BUSY

    def release(self, host: Host, connection: Connection) -> None:
        """Hand the connection to whoever waits longest and can use it, else keep it."""
        if connection.closed:
            return
        if (
            self._closed
            or host.retired
            or connection.transactions >= MESSAGES
            or ((host.refused or host.resting or host.limited) and host.avoids(connection.source))
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
                host.used(connection.source)
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
        if self._all_gone is not None and not self.alive():
            self._all_gone.set()
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            _resolve(future, None)

    def refused(self, attempt: Attempt, host: Host, connection: Connection, reply: Reply) -> bool:
        """A host has refused our address. True if it is to be tried from another one."""
        another = self.note_refusal(host, connection.source, reply)
        if another:
            attempt.wary |= {host}
            attempt.fresh = host
        return another

    def note_refusal(self, host: Host, source: str | None, reply: Reply) -> bool:
        """A host has refused an address of ours. True if it has not refused another one."""
        self._count(EVENTS, "our_address")
        self._tell_refused(host.name, source or "", reply)
        return host.refuses(source, str(reply))

    def fails(self, host: Host, reason: str, text: str) -> None:
        """A session could not be set up, or ended before its answer."""
        self._count(EVENTS, reason)
        host.fails(reason, text)

    async def _open(self, attempt: Attempt, host: Host) -> Connection | None:
        """A new connection, or None: then `attempt` knows what is in the way."""
        host.opening += 1
        host.probing = host.failures > 0
        source, connection = host.source(), None
        try:
            async with asyncio.timeout_at(None if attempt.until == math.inf else attempt.until):
                connection = await self._open_session(host, source, partial(self._lost, host))
        except TimeoutError:
            return None  # The host may be well; it is this message that must not wait any longer.
        except UnreachableError as error:
            if error.reason == "source" and source is not None:
                # It is no fault of the host. Another address of ours will do.
                self._count(EVENTS, error.reason)
                host.loses(source, str(error))
                return None
            if error.reply is not None and refuses_us(error.reply):
                attempt.refused(error.reply, host, source or "")
                if self.note_refusal(host, source, error.reply):
                    return None  # It is tried from the next address.
            elif error.reply is not None:
                attempt.heard.append(error.reply)
            self.fails(host, error.reason, str(error))
            attempt.unreachable |= {host}
            return None
        finally:
            host.opening -= 1
            if connection is None:
                host.not_opened(source)
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
                self.release(*late)
            raise
        finally:
            timer.cancel()
        if given is BUSY:
            self._count(EVENTS, "busy")
        return given

    def event(self, name: str) -> None:
        """Count what happened."""
        self._count(EVENTS, name)

    def _in_turn(self) -> Iterator[Host]:
        for place, host in enumerate(self.hosts):
            if place < self._best:
                self._next = (self._next + 1) % self._best
                yield self.hosts[self._next]
            else:
                yield host

    def _may_open(self, host: Host) -> bool:
        if self._most and sum(len(one.connections) + one.opening for one in self.hosts) >= self._most:
            return False
        return host.may_open()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for host in (*self.hosts, *self._gone):
            host.sweep(loop.time())
        self._sweeper = None
        if self.alive():
            self._sweeper = loop.call_later(self._sweep_seconds, self._sweep)


def put_off(result: Result) -> Result:
    """Those for whom no address may be used now may be tried for by another pool, as after a refusal."""
    if SPENT not in result.replies and LOST not in result.replies:
        return result
    spent = [place for place, reply in enumerate(result.replies) if reply is SPENT or reply is LOST]
    return msgspec.structs.replace(result, listed=tuple(sorted({*result.listed, *spent})))


def _resolve(future: _Waiting, value: Reply | None) -> None:
    if not future.done():
        future.set_result(value)
