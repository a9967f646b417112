"""The hash slots of a cluster: which lane a key takes, and what to do when it has become another."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from outbound_guard.state.lane import Lane
from outbound_guard.state.script import Script, Sent
from outbound_guard.state.where import Cluster, Place, host_of
from outbound_guard.state.wire import Moved, Value, Wire

_MOVES = 5
"""How often one call is sent elsewhere at most."""
_TRY_AGAIN = 0.02
"""Seconds until a call is sent again whose keys are on their way to another server."""

Later = Callable[[Script, Sequence[Value], Sequence[Value]], None]


class Slots:
    """The lanes to the masters of a cluster. A slot that nobody is known to have is `nowhere`, which is never up."""

    def __init__(self, cluster: Cluster, make: Callable[[], Lane], nowhere: Lane) -> None:
        self._cluster, self._make, self._nowhere = cluster, make, nowhere
        self._lanes: dict[str, Lane] = {}
        """By URL."""
        self._table: list[Lane] = [nowhere] * REDIS_CLUSTER_HASH_SLOTS
        self._whole = False
        """True if none of them is nowhere."""

    @property
    def lanes(self) -> list[Lane]:
        """All lanes, `nowhere` last if some slot has no other."""
        return [*self._lanes.values(), *([] if self._whole else [self._nowhere])]

    @property
    def up(self) -> bool:
        """True if every slot is at a server that is connected."""
        return self._whole and all(lane.up for lane in self._lanes.values())

    def lane(self, key: Value) -> Lane:
        """The lane of a key."""
        return self._table[slot_of(key)]

    async def adopt(self, places: Sequence[Place], open_: Callable[[Place], Awaitable[Wire]], later: Later) -> None:
        """Let the slots be where they are said to be, and connect to who is not connected. Raises FAILURES.

        Records that wait for a server that has lost its slots go, by `later`, to the one that has them now.
        """
        before, self._lanes = self._lanes, {}
        table = [self._nowhere] * REDIS_CLUSTER_HASH_SLOTS
        for place in places:
            lane = self._lanes[place.url] = before.pop(place.url) if place.url in before else self._made(place.url)
            for first, last in place.slots:
                table[first : last + 1] = [lane] * (last + 1 - first)
        self._table, self._whole = table, self._nowhere not in table
        for lane in (*before.values(), self._nowhere):
            for record in lane.take_behind():
                later(*record)
        for lane in before.values():
            lane.close()

        async def connect(place: Place) -> None:
            lane = self._lanes[place.url]
            if not lane.up:
                lane.use(await open_(place), place.url)

        # One that hangs must not keep the others away.
        for failed in await asyncio.gather(*map(connect, places), return_exceptions=True):
            if failed is not None:
                raise failed

    def redirect(self, lane: Lane, sent: Sent, to: Moved, look: Callable[[], None]) -> bool:
        """Send a call where the cluster wants it (MOVED, ASK, TRYAGAIN). False if it has been moved too often."""
        sent.moves += 1
        if sent.moves > _MOVES:
            return False
        if to.slot < 0:
            asyncio.get_running_loop().call_later(_TRY_AGAIN, lane.again, sent)
            return True
        url = self._cluster.url_of(to.host or host_of(lane.url), to.port)
        if url not in self._lanes:
            # A server that is new, or was a replica: it is connected soon, and what can wait waits for it.
            self._lanes[url] = self._made(url)
        if not to.asking:
            self._table[to.slot] = self._lanes[url]
            look()
        self._lanes[url].again(sent, asking=to.asking)
        return True

    def _made(self, url: str) -> Lane:
        lane = self._make()
        lane.url = url
        return lane


def slot_of(key: Value) -> int:
    """The hash slot of a key."""
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


def grouped(keys: Sequence[Value]) -> dict[int, list[int]]:
    """The places of keys in the sequence, by slot."""
    found: dict[int, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        found[slot_of(key)].append(place)
    return found
