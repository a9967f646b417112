"""The way to one server: calls of a loop turn in one write, replies in order, records behind them.

A call fails with StateDown when no answer has come within the timeout or the connection is lost; from then on calls
fail at once, until somebody has opened the lane again (client.py). Records wait here in the meantime.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from outbound_guard.state.script import Script, Sent, StateDown, StateError, evalsha
from outbound_guard.state.wire import Moved, Value, Wire, cannot_serve, is_missing_script, is_read_only, moved, pack

_log = logging.getLogger(__name__)

_GRACE = 0.02
"""Seconds to read what has come in before a call is given up: it may be us who were slow."""
_BEHIND_PAUSE = 0.01
"""Seconds that records wait for a call to travel with."""
_BEHIND_BATCH = 500
"""Records that do not wait."""
_BEHIND_WINDOW = 1000
"""Records on the way at a time: a long backlog must not make calls late."""

Record = tuple[Script, Sequence[Value], Sequence[Value]]


class Lane:
    """One server, as one event loop sees it."""

    def __init__(
        self,
        timeout: float,
        count: Callable[..., None],
        room: int,
        *,
        lost: Callable[[], None],
        moved: Callable[[Lane, Sent, Moved], bool],
    ) -> None:
        """`room`: how many records are kept while the server is away; then the oldest go. `lost` is called when it is.

        `moved` is called with what a cluster wants to have sent elsewhere; False if that was not done.
        """
        self.url = ""
        """Of the server that it is, or was last, connected to."""
        self.why = "not connected yet"
        self._timeout, self._count, self._room = timeout, count, room
        self._lost_it, self._moved = lost, moved
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self._out: list[bytes] = []
        self._sent: deque[Sent] = deque()
        self._unheard = 0
        """Entries of `_sent` that nobody waits for."""
        self._behind: deque[Record] = deque()
        self._deadline = 0.0
        self._check_timer: asyncio.TimerHandle | None = None
        self._behind_timer: asyncio.TimerHandle | None = None
        self._suspect: Sent | None = None
        self._told: set[str] = set()

    @property
    def up(self) -> bool:
        """True while it is connected."""
        return self._wire is not None

    @property
    def whole(self) -> bool:
        """True if the server it is connected to takes keys of several hash slots at once."""
        return self._wire is not None and self._wire.whole

    @property
    def waiting(self) -> int:
        """Records that are not on their way yet."""
        return len(self._behind)

    def use(self, wire: Wire, url: str) -> None:
        """Be connected by this wire from now on. What is on its way by another one fails."""
        if self._wire is not None:
            self._give_up("moved", "there is another master")
        self._wire, self.url = wire, url
        wire.start(self._reply, lambda: self.lose("lost"))
        if self._behind:
            self.send()

    def load(self, script: Script) -> None:
        """Have the server know a script before its first call, so that nothing is carried out in another order."""
        if self._wire is not None:
            self._put(pack(("SCRIPT", "LOAD", script.text)), Sent(self._loop.create_future(), self._turn()))

    def start(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> asyncio.Future[Any]:
        """Send a call with all others of this loop turn; the future gives its result. Raises StateDown, as it may."""
        if self._wire is None:
            raise self._down()
        future = self._loop.create_future()
        self._put(evalsha(script, keys, args), Sent(future, self._turn(), script, keys, args))
        return future

    def command(self, words: tuple[Value, ...]) -> asyncio.Future[Any]:
        """The same for one simple command."""
        if self._wire is None:
            raise self._down()
        future = self._loop.create_future()
        self._put(pack(words), Sent(future, self._turn(), None, (), words))
        return future

    def again(self, sent: Sent, *, asking: bool = False) -> None:
        """Send what another server did not take; `asking`: though this one has only some of the slot (ASK)."""
        if self._wire is None:
            if sent.is_record and sent.script:
                self.later((sent.script, sent.keys, sent.args))
            else:
                sent.fail(self._down())
            return
        if asking:
            self._put(pack(("ASKING",)), Sent(None, self._turn()))
        sent.deadline = self._turn()
        self._put(evalsha(sent.script, sent.keys, sent.args) if sent.script else pack(tuple(sent.args)), sent)

    def later(self, record: Record) -> None:
        """Run a script soon, after the calls made up to now; nobody waits. It is kept while the server is away."""
        self._behind.append(record)
        if len(self._behind) > self._room:
            self._behind.popleft()
            self._count("state_dropped_total")
        if self._wire is None or self._out:
            return
        if len(self._behind) == _BEHIND_BATCH:
            self._loop.call_soon(self.send)
        elif self._behind_timer is None:
            self._behind_timer = self._loop.call_later(_BEHIND_PAUSE, self.send)

    def take_behind(self) -> Iterable[Record]:
        """Give up the records that wait, for another lane."""
        behind, self._behind = self._behind, deque()
        return behind

    async def flush(self) -> None:
        """Wait until everything written behind has been carried out. Raises StateDown."""
        while self._behind or self._unheard:
            self.send()
            # One connection carries all, in order: what was sent before this has been answered before it.
            await self.command(("PING",))

    def close(self) -> None:
        """Disconnect; what waits fails."""
        for timer in (self._check_timer, self._behind_timer):
            if timer:
                timer.cancel()
        self._check_timer = self._behind_timer = None
        wire, self._wire, self.why = self._wire, None, "closed"
        if wire:
            wire.abort()
        self._fail_all(self.why)

    def lose(self, kind: str, why: object = "connection lost") -> None:
        """The server is away as of now: fail what waits, and say so."""
        _log.warning("the store is down (%s); mail goes on without it", why)
        self._give_up(kind, str(why))
        self._lost_it()

    def send(self) -> None:
        """Write out the calls of this loop turn and, behind them, the records."""
        if self._behind_timer:
            self._behind_timer.cancel()
            self._behind_timer = None
        if self._wire is None:
            return
        deadline = self._turn()
        while self._behind and self._unheard < _BEHIND_WINDOW:
            script, keys, args = self._behind.popleft()
            self._out.append(evalsha(script, keys, args))
            self._expect(Sent(None, deadline, script, keys, args))
        if self._out:
            out, self._out = self._out, []
            self._wire.write(out)

    def _turn(self) -> float:
        """The deadline of what is sent in this loop turn."""
        if not self._out:
            self._deadline = self._loop.time() + self._timeout
        return self._deadline

    def _put(self, packed: bytes, sent: Sent) -> None:
        if not self._out:
            self._loop.call_soon(self.send)
        self._out.append(packed)
        self._expect(sent)

    def _expect(self, sent: Sent) -> None:
        self._sent.append(sent)
        if sent.future is None:
            self._unheard += 1
        if self._check_timer is None:
            self._check_timer = self._loop.call_at(sent.deadline, self._check)

    def _reply(self, reply: Any) -> None:
        """Hand a reply to whoever waits for it."""
        sent = self._sent.popleft()
        if sent.future is None:
            self._unheard -= 1
            if self._behind and self._unheard == _BEHIND_WINDOW // 2:
                self.send()
        if isinstance(reply, Exception):
            self._refused(sent, reply)
        elif sent.future is not None and not sent.future.done():
            sent.future.set_result(reply)

    def _refused(self, sent: Sent, error: Exception) -> None:
        if is_missing_script(error) and sent.script:
            # The server was restarted or failed over behind our connection: load the script and call again, once.
            self._put(pack(("SCRIPT", "LOAD", sent.script.text)), Sent(None, self._turn()))
            again = Sent(sent.future, self._turn(), None, sent.keys, sent.args)
            self._put(evalsha(sent.script, sent.keys, sent.args), again)
            return
        to = moved(error)
        if to and (sent.script or not sent.keys) and self._moved(self, sent, to):
            return
        down = bool(to) or cannot_serve(error)
        self._count("state_errors_total", "refused" if down else "script")
        if sent.future is None:
            self._count("state_dropped_total", by=int(sent.is_record))
            if str(error) not in self._told and len(self._told) < 100:
                self._told.add(str(error))
                _log.error("a record was refused by the store: %s", error)
        else:
            sent.fail(StateDown(str(error)) if down else StateError(str(error)))
        if self._wire is not None and is_read_only(error):
            # It was the master and is none any more; whoever is it now is found anew.
            self.lose("readonly", error)

    def _check(self) -> None:
        """Give the connection up if its oldest call is overdue."""
        self._check_timer = None
        if not self._sent:
            return
        oldest = self._sent[0]
        if self._loop.time() < oldest.deadline:
            self._check_timer = self._loop.call_at(oldest.deadline, self._check)
        elif self._suspect is not oldest:
            # The answer may lie there unread because this loop was busy: let it read first.
            self._suspect = oldest
            self._check_timer = self._loop.call_later(_GRACE, self._check)
        else:
            self.lose("timeout", f"no answer within {self._timeout:g} s")

    def _give_up(self, kind: str, why: str) -> None:
        self._count("state_errors_total", kind)
        wire, self._wire, self.why = self._wire, None, why
        if wire:
            wire.abort()
        self._fail_all(why)

    def _fail_all(self, why: str) -> None:
        sent, self._sent = self._sent, deque()
        self._out, self._suspect = [], None
        self._unheard = 0
        if records := sum(one.is_record for one in sent):
            # They may have been carried out or not; twice would be worse than not at all.
            self._count("state_dropped_total", by=records)
        for one in sent:
            one.fail(StateDown(why))

    def _down(self) -> StateDown:
        self._count("state_errors_total", "down")
        return StateDown(self.why)
