"""Who tries out passwords: wrong ones are counted for each client address, and for each login over all addresses.

Beyond the limits AUTH is answered 454 without a look at the password, the same whether the login exists or not. One who
has logged in before from the same address is counted apart: neither strangers who guess at a login nor a neighbour
behind the same address lock its owner out.

Each process counts for itself and knows at once what it has seen. What all have seen lies in the store of counters: a
wrong password is counted there without waiting, and the answer brings the sum of all. Before anybody is turned away the
store is asked whether another process knows login and address to belong together. While it is down, each process goes
by what it knows itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any

from outbound_guard.clock import Clock
from outbound_guard.config import Auth
from outbound_guard.edge.sessions import whose
from outbound_guard.state import State, StateError

_KEPT = 50_000
"""Counters, and pairs of login and address; beyond that the oldest are forgotten."""
_FRIENDS_SECONDS = 30 * 86_400
"""So long an address is known to have logged in."""
_AGAIN_SECONDS = 86_400
"""So long the store need not be told again."""


class Guesses:
    """The counters of one process."""

    def __init__(self, auth: Auth, key: bytes, clock: Clock, state: State | None = None) -> None:
        """`key` makes the names of counters, so that the store keeps no login; who shares them shares the key.

        Without `state` nothing is shared.
        """
        self._auth, self._key, self._clock, self._state = auth, key, clock, state
        if state is not None:
            self._guess, self._friend = state.script("edge/guess.lua"), state.script("edge/friend.lua")
        self._counts: dict[bytes, tuple[int, float]] = {}
        """Name of a counter -> wrong passwords, and when it ends (unix seconds)."""
        self._friends: dict[bytes, float] = {}
        """Login and address -> until when they are known to belong together."""
        self._asked: set[asyncio.Task[None]] = set()

    async def refuses(self, address: str, login: str) -> str:
        """Why this login from this address is not to be checked, as a word for the metric; "" if it may be."""
        if not self._counts:
            return ""
        now = self._clock.now()
        pair = self._pair(address, login)
        stranger = ""
        if self._count(self._name("a", whose(address)), now) >= self._auth.tries_per_address:
            stranger = "throttled_address"
        elif self._count(self._name("l", login), now) >= self._auth.tries_per_login:
            stranger = "throttled_login"
        if stranger and not (self._is_friend(pair, now) or await self._is_known(pair, now)):
            return stranger
        return "throttled_login" if self._count(pair, now) >= self._auth.tries_per_login else ""

    def wrong(self, address: str, login: str) -> None:
        """A wrong password."""
        now = self._clock.now()
        pair = self._pair(address, login)
        if self._is_friend(pair, now):
            self._add(pair, now)
            return
        self._add(self._name("a", whose(address)), now)
        self._add(self._name("l", login), now)

    def right(self, address: str, login: str) -> None:
        """The right password: this login belongs to this address."""
        pair, now = self._pair(address, login), self._clock.now()
        known_until = self._friends.pop(pair, 0.0)
        _trim(self._friends)
        self._friends[pair] = now + _FRIENDS_SECONDS
        if self._state is not None and known_until < now + _FRIENDS_SECONDS - _AGAIN_SECONDS:
            self._state.later(self._friend, [b"auth:" + pair], [_FRIENDS_SECONDS])

    def _is_friend(self, pair: bytes, now: float) -> bool:
        return self._friends.get(pair, 0.0) > now

    async def _is_known(self, pair: bytes, now: float) -> bool:
        """Whether another process has seen the two together."""
        if self._state is None:
            return False
        try:
            known = bool(await self._state.command("EXISTS", b"auth:" + pair))
        except StateError:
            return False
        if known:
            _trim(self._friends)
            self._friends[pair] = now + _AGAIN_SECONDS
        return known

    def _count(self, name: bytes, now: float) -> int:
        count, end = self._counts.get(name, (0, 0.0))
        return count if end > now else 0

    def _add(self, name: bytes, now: float) -> None:
        seconds = self._auth.tries_seconds
        count, end = self._counts.pop(name, (0, 0.0))
        if end <= now:
            count, end = 0, now + seconds
        _trim(self._counts)
        self._counts[name] = count + 1, end
        if self._state is not None:
            learning = asyncio.get_running_loop().create_task(self._learn(self._state, name))
            self._asked.add(learning)
            learning.add_done_callback(self._asked.discard)

    async def _learn(self, state: State, name: bytes) -> None:
        """Count it for all, and take over what all have counted."""
        try:
            answer: Any = await state.call(self._guess, [b"guess:" + name], [int(self._auth.tries_seconds * 1000)])
        except StateError:
            return  # It is counted there, and said, that the store is down.
        count, milliseconds = answer
        now = self._clock.now()
        if count > self._count(name, now):
            self._counts[name] = count, now + milliseconds / 1000

    def _pair(self, address: str, login: str) -> bytes:
        return self._name("p", whose(address) + "\0" + login)

    def _name(self, kind: str, text: str) -> bytes:
        """The name of a counter: nobody reads a login or an address out of it, and none is like another's."""
        return hmac.digest(self._key, f"{kind}\0{text}".encode("utf-8", "replace"), hashlib.sha256)[:16]


def _trim(table: dict[bytes, tuple[int, float]] | dict[bytes, float]) -> None:
    while len(table) >= _KEPT:
        del table[next(iter(table))]
