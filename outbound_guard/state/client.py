"""The way to the store: scripts called in one round trip, records written behind, and what happens when it is down.

The store is one server, or the master that sentinels name, or the masters of a cluster (where.py). There is a lane to
each (lane.py). "The store is down" is handled there and here and nowhere else: from the moment a server does not answer
calls to it fail at once, and one probe in the background looks for it, or its successor, until all answer again. So a
store that hangs makes mail wait once, and no message ever serves as the probe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import resources
from typing import Any

from outbound_guard.state.lane import Lane
from outbound_guard.state.script import Script, Sent, StateError
from outbound_guard.state.slots import Slots, grouped
from outbound_guard.state.where import Cluster, Place, where_of, with_password
from outbound_guard.state.wire import FAILURES, Moved, Value, Wire, open_wire

_log = logging.getLogger(__name__)

_PROBE_PAUSE = (0.05, 1.0)
"""Seconds between two probes: first and longest."""


class State:
    """The store, as one event loop sees it. Values go out as bytes, text or numbers and come back as bytes and ints.

    All keys of one script, or command, must lie in one hash slot: between its first pair of braces they are the same.
    Commands that block or change the connection's mode (BLPOP, SUBSCRIBE, MULTI) must not be sent: all share one.
    """

    def __init__(self, url: str, *, timeout: float, count: Callable[..., None], behind: int) -> None:
        """Use `connect`. Raises ConfigError."""
        self._where = where_of(url)
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._scripts: dict[str, Script] = {}
        self._probing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._finding = asyncio.Lock()
        self._unexpected = ""
        """What was last logged of what is not a failure of the store."""

        def lane() -> Lane:
            return Lane(timeout, count, behind, lost=self._look, moved=self._moved)

        self._one = lane()
        self._slots = Slots(self._where, lane, self._one) if isinstance(self._where, Cluster) else None

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        timeout: float = 0.5,  # noqa: ASYNC109 - It is that of the calls to come.
        count: Callable[..., None],
        behind: int = 20_000,
    ) -> State:
        """Connect to what a URL names (where.py). If the store is down this returns all the same and goes on trying.

        `timeout`: seconds a call may take. `count(name, *labels, by=1)` counts what goes wrong (Metrics.count).
        `behind`: how many records are kept while a server is down; then the oldest go.
        Raises ConfigError for a URL that cannot be used.
        """
        state = cls(url, timeout=timeout, count=count, behind=behind)
        try:
            await state._find()
        except FAILURES as error:
            state._one.lose("connect", error)
        if state._where.watch:
            state._watching = state._loop.create_task(state._watch(), name="store watch")
        return state

    @property
    def up(self) -> bool:
        """True while the store answers; of a cluster, while all its masters do."""
        return self._one.up if self._slots is None else self._slots.up

    @property
    def one_server(self) -> bool:
        """True if it is known that one script may have keys of several hash slots: there is no cluster behind it."""
        return self._slots is None and self._one.whole

    def script(self, name_or_text: str) -> Script:
        """A script from its Lua text, or from a file of this package, for example `reputation/recall.lua`."""
        text = name_or_text
        if text.endswith(".lua") and not any(letter.isspace() for letter in text):
            text = resources.files("outbound_guard").joinpath(text).read_text(encoding="utf-8")
        if text not in self._scripts:
            self._scripts[text] = Script(text)
            for lane in self._lanes():
                lane.load(self._scripts[text])
        return self._scripts[text]

    def start(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> asyncio.Future[Any]:
        """Send a call with all others of this loop turn; the future gives its result. Raises StateDown, as it may."""
        return (self._one if self._slots is None else self._slots.lane(keys[0])).start(script, keys, args)

    async def call(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> Any:
        """Run a script and return its result. Raises StateDown, and StateError for a mistake in the script."""
        return await self.start(script, keys, args)

    async def command(self, *words: Value) -> Any:
        """Send one simple command and return its reply; its second word is its key, if it has one.

        Raises StateDown, and StateError if it is refused.
        """
        lane = self._one if self._slots is None else self._slots.lane(words[1] if len(words) > 1 else "")
        return await lane.command(words)

    async def get(self, keys: Sequence[Value]) -> list[bytes | None]:
        """The values of any keys, wherever they lie, in one round trip. Raises StateDown, StateError."""
        found: list[bytes | None] = [None] * len(keys)
        for places, reply in await self._spread("MGET", keys):
            for place, value in zip(places, reply, strict=True):
                found[place] = value
        return found

    async def remove(self, keys: Sequence[Value]) -> int:
        """Remove any keys, wherever they lie; how many there were. Raises StateDown, StateError."""
        return sum(reply for _, reply in await self._spread("UNLINK", keys))

    async def scan(self, pattern: str | bytes) -> AsyncIterator[bytes]:
        """The keys that fit a pattern; it looks at all keys of all servers. Raises StateDown, StateError."""
        for lane in self._lanes():
            cursor: bytes | int = b"0"
            while True:
                cursor, keys = await lane.command(("SCAN", cursor, "MATCH", pattern, "COUNT", 1000))
                for key in keys:
                    yield key
                if int(cursor) == 0:
                    break

    async def everywhere(self, *words: Value) -> list[Any]:
        """Send one command to every server; their replies. Raises StateDown, StateError."""
        return list(await asyncio.gather(*[lane.command(words) for lane in self._lanes()]))

    def later(self, script: Script, keys: Sequence[Value], args: Sequence[Value]) -> None:
        """Run a script soon, after the calls made up to now; nobody waits. Never raises: it is kept while down."""
        (self._one if self._slots is None else self._slots.lane(keys[0])).later((script, keys, args))

    def push(self) -> None:
        """Send what was written behind now: it is carried out before any call for the same slot made after this."""
        for lane in self._lanes():
            lane.send()

    async def flush(self) -> None:
        """Wait until everything written behind has been carried out. Raises StateDown."""
        for lane in self._lanes():
            await lane.flush()

    async def close(self) -> None:
        """Send what was written behind, as far as the store takes it, and disconnect."""
        for lane in self._lanes():
            try:
                await lane.flush()
            except StateError:
                if lane.waiting:
                    self._count("state_dropped_total", by=lane.waiting)
        tasks = [task for task in (self._probing, self._watching) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self._lanes():
            lane.close()
        await self._where.close()

    def _lanes(self) -> Sequence[Lane]:
        return [self._one] if self._slots is None else self._slots.lanes

    async def _spread(self, command: str, keys: Sequence[Value]) -> list[tuple[Sequence[int], Any]]:
        """A command for any number of keys, sent once for each slot at the same time: their places, and the replies."""
        if not keys:
            return []
        if self._slots is None:
            return [(range(len(keys)), await self._one.command((command, *keys)))]
        places = list(grouped(keys).values())
        calls = [self._slots.lane(keys[some[0]]).command((command, *[keys[one] for one in some])) for some in places]
        return list(zip(places, await asyncio.gather(*calls), strict=True))

    def _moved(self, lane: Lane, sent: Sent, to: Moved) -> bool:
        return self._slots is not None and self._slots.redirect(lane, sent, to, self._look)

    def _look(self) -> None:
        """Look for the servers in the background until all are connected."""
        if self._probing is None:
            self._probing = self._loop.create_task(self._probe(), name="store probe")

    async def _probe(self) -> None:
        pause, longest = _PROBE_PAUSE
        was_up = self.up
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
            try:
                await self._find()
            except Exception as error:
                self._failed(error)
                for lane in self._lanes():
                    if not lane.up:
                        lane.why = str(error)
                continue
            if self.up:
                self._probing = None
                if not was_up:
                    _log.warning("the store is up again")
                return

    async def _watch(self) -> None:
        """Ask now and then for the master though it answers: it may be one that the others have given up."""
        while True:
            await asyncio.sleep(self._where.watch)
            try:
                if self._probing is None:
                    await self._find()
            except Exception as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Looking for the store goes on whatever happened: what nobody expected is logged once."""
        if isinstance(error, FAILURES):
            _log.debug("where the store is could not be asked: %s", error)
        elif repr(error) != self._unexpected:
            self._unexpected = repr(error)
            _log.error("the store cannot be looked for, which is tried again: %s", error, exc_info=error)

    async def _find(self) -> None:
        """Connect to every server of the store that is not connected. Raises FAILURES."""
        async with self._finding:
            places = await self._where.find()
            if self._slots is not None:
                await self._slots.adopt(places, self._open, self.later)
            elif not (self._one.up and self._one.url == places[0].url):
                self._one.use(await self._open(places[0]), places[0].url)

    async def _open(self, place: Place) -> Wire:
        return await open_wire(with_password(place.url), self._where.limit, list(self._scripts))
