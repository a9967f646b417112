"""The way to the store: scripts called in one round trip, records written behind, and what happens when it is down.

"The store is down" is written here and nowhere else. A call fails with StateDown when no answer has come within the
timeout (0.5 s) or the connection is lost; from then on calls fail at once, and one probe in the background looks for
the store until it answers again. So a store that hangs makes mail wait once, and no message ever serves as the probe.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

from outbound_guard.state.script import Script, Sent, StateDown, StateError, evalsha
from outbound_guard.state.wire import FAILURES, Value, Wire, cannot_serve, check_url, is_missing_script, open_wire, pack

_log = logging.getLogger(__name__)

_PROBE_TIMEOUT = 2.0
"""Seconds the probe waits; nobody waits for the probe."""
_PROBE_PAUSE = (0.05, 1.0)
"""Seconds between two probes: first and longest."""
_GRACE = 0.02
"""Seconds to read what has come in before a call is given up: it may be us who were slow."""
_BEHIND_PAUSE = 0.01
"""Seconds that records wait for a call to travel with."""
_BEHIND_BATCH = 500
"""Records that do not wait."""
_BEHIND_WINDOW = 1000
"""Records on the way at a time: a long backlog must not make calls late."""


class State:
    """The store, as one event loop sees it. Values go out as bytes, text or numbers and come back as bytes and ints.

    Commands that block or change the connection's mode (BLPOP, SUBSCRIBE, MULTI) must not be sent: all share one.
    """

    def __init__(self, url: str, *, timeout: float, count: Callable[..., None], behind: int) -> None:
        """Use `connect`."""
        self._url, self._timeout, self._count, self._room = url, timeout, count, behind
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self._why = "not connected yet"
        self._scripts: dict[str, Script] = {}
        self._out: list[bytes] = []
        self._sent: deque[Sent] = deque()
        self._unheard = 0
        """Entries of `_sent` that nobody waits for."""
        self._behind: deque[tuple[Script, Sequence[Value], Sequence[Value]]] = deque()
        self._deadline = 0.0
        self._check_timer: asyncio.TimerHandle | None = None
        self._behind_timer: asyncio.TimerHandle | None = None
        self._suspect: Sent | None = None
        self._probing: asyncio.Task[None] | None = None
        self._told: set[str] = set()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        timeout: float = 0.5,  # noqa: ASYNC109 - It is that of the calls to come.
        count: Callable[..., None],
        behind: int = 20_000,
    ) -> State:
        """Connect to redis://, rediss:// or unix://. If the store is down this returns all the same and goes on trying.

        `timeout`: seconds a call may take. `count(name, *labels, by=1)` counts what goes wrong (Metrics.count).
        `behind`: how many records are kept while the store is down; then the oldest go.
        Raises ConfigError for a URL that cannot be used.
        """
        check_url(url)
        state = cls(url, timeout=timeout, count=count, behind=behind)
        try:
            await state._open()
        except FAILURES as error:
            state._lost("connect", error)
        return state

    @property
    def up(self) -> bool:
        """True while the store answers."""
        return self._wire is not None

    def script(self, name_or_text: str) -> Script:
        """A script from its Lua text, or from a file of this package, for example `reputation/recall.lua`."""
        text = name_or_text
        if text.endswith(".lua") and not any(letter.isspace() for letter in text):
            text = resources.files("outbound_guard").joinpath(text).read_text(encoding="utf-8")
        if text not in self._scripts:
            self._scripts[text] = Script(text)
            if self._wire is not None:
                # Known to the server before its first call, so that nothing is carried out in another order.
                self._put(pack(("SCRIPT", "LOAD", text)), Sent(self._loop.create_future(), self._turn()))
        return self._scripts[text]

    def start(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> asyncio.Future[Any]:
        """Send a call with all others of this loop turn; the future gives its result. Raises StateDown, as it may."""
        if self._wire is None:
            raise self._down()
        future = self._loop.create_future()
        self._put(evalsha(script, keys, args), Sent(future, self._turn(), script, keys, args))
        return future

    async def call(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> Any:
        """Run a script and return its result. Raises StateDown, and StateError for a mistake in the script."""
        return await self.start(script, keys, args)

    async def command(self, *words: Value) -> Any:
        """Send one simple command and return its reply. Raises StateDown, and StateError if it is refused."""
        if self._wire is None:
            raise self._down()
        future = self._loop.create_future()
        self._put(pack(words), Sent(future, self._turn()))
        return await future

    def later(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> None:
        """Run a script soon, after the calls made up to now; nobody waits. Never raises: it is kept while down."""
        self._behind.append((script, keys, args))
        if len(self._behind) > self._room:
            self._behind.popleft()
            self._count("state_dropped_total")
        if self._wire is None or self._out:
            return
        if len(self._behind) == _BEHIND_BATCH:
            self._loop.call_soon(self._send)
        elif self._behind_timer is None:
            self._behind_timer = self._loop.call_later(_BEHIND_PAUSE, self._send)

    def push(self) -> None:
        """Send what was written behind now: it is carried out before any call made after this."""
        self._send()

    async def flush(self) -> None:
        """Wait until everything written behind has been carried out. Raises StateDown."""
        while self._behind or self._unheard:
            self._send()
            # One connection carries all, in order: what was sent before this has been answered before it.
            await self.command("PING")

    async def close(self) -> None:
        """Send what was written behind, as far as the store takes it, and disconnect."""
        try:
            await self.flush()
        except StateError:
            if self._behind:
                self._count("state_dropped_total", by=len(self._behind))
        if self._probing:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        for timer in (self._check_timer, self._behind_timer):
            if timer:
                timer.cancel()
        self._fail_all("closed")
        wire, self._wire = self._wire, None
        if wire:
            wire.abort()

    def _turn(self) -> float:
        """The deadline of what is sent in this loop turn."""
        if not self._out:
            self._deadline = self._loop.time() + self._timeout
        return self._deadline

    def _put(self, packed: bytes, sent: Sent) -> None:
        if not self._out:
            self._loop.call_soon(self._send)
        self._out.append(packed)
        self._expect(sent)

    def _expect(self, sent: Sent) -> None:
        self._sent.append(sent)
        if sent.future is None:
            self._unheard += 1
        if self._check_timer is None:
            self._check_timer = self._loop.call_at(sent.deadline, self._check)

    def _send(self) -> None:
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

    def _reply(self, reply: Any) -> None:
        """Hand a reply to whoever waits for it."""
        sent = self._sent.popleft()
        if sent.future is None:
            self._unheard -= 1
            if self._behind and self._unheard == _BEHIND_WINDOW // 2:
                self._send()
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
        down = cannot_serve(error)
        self._count("state_errors_total", "refused" if down else "script")
        if sent.future is None:
            self._count("state_dropped_total", by=int(sent.is_record))
            if str(error) not in self._told and len(self._told) < 100:
                self._told.add(str(error))
                _log.error("a record was refused by the store: %s", error)
        elif not sent.future.done():
            sent.future.set_exception(StateDown(str(error)) if down else StateError(str(error)))

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
            self._lost("timeout", f"no answer within {self._timeout:g} s")

    def _lost(self, kind: str, why: object = "connection lost") -> None:
        """The store is down as of now: fail what waits, and start the probe."""
        self._count("state_errors_total", kind)
        self._why = str(why)
        _log.warning("the store is down (%s); mail goes on without it", self._why)
        wire, self._wire = self._wire, None
        if wire:
            wire.abort()
        self._fail_all(self._why)
        if self._probing is None:
            self._probing = self._loop.create_task(self._probe(), name="store probe")

    def _fail_all(self, why: str) -> None:
        sent, self._sent = self._sent, deque()
        self._out, self._suspect = [], None
        self._unheard = 0
        if records := sum(one.is_record for one in sent):
            # They may have been carried out or not; twice would be worse than not at all.
            self._count("state_dropped_total", by=records)
        for one in sent:
            if one.future is not None and not one.future.done():
                one.future.set_exception(StateDown(why))
                one.future.exception()  # Whoever started it may have given up on it already.

    def _down(self) -> StateDown:
        self._count("state_errors_total", "down")
        return StateDown(self._why)

    async def _probe(self) -> None:
        """Look for the store until it answers."""
        pause, longest = _PROBE_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
            try:
                await self._open()
            except FAILURES as error:
                self._why = str(error)
                continue
            self._probing = None
            _log.warning("the store is up again")
            return

    async def _open(self) -> None:
        wire = await open_wire(self._url, _PROBE_TIMEOUT, list(self._scripts))
        self._wire = wire
        wire.start(self._reply, lambda: self._lost("lost"))
        if self._behind:
            self._send()
