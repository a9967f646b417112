"""What senders did before the product was there: hours of their past are put into the memory, each of them once."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence

import msgspec

from outbound_guard.mail import Sender
from outbound_guard.reputation import OUTCOMES, _hash, _keeper, _keys, _lua
from outbound_guard.reputation.memory import lua
from outbound_guard.state import State

_HEAD = struct.Struct("<ddffffHB")
_OUTCOME = struct.Struct("<BH")
_MOST = 65_535
_YOUNG = 43_200.0
"""Seconds after which a network can become known (learn.lua): a thief of this morning is no habit by noon."""


class Hour(msgspec.Struct, frozen=True):
    """One hour of a sender's mail."""

    begin: float
    """Unix seconds."""
    messages: int
    recipients: int
    failed: int = 0
    """Recipients for whom it was refused for good."""
    placed: int = 0
    """Messages of which the client's network is known."""
    networks: tuple[str, ...] = ()
    """As signals.traits.network names them."""
    took: Sequence[str] = ()
    """Recipients that took mail: they are known from now on."""
    outcomes: Mapping[str, int] = {}
    """Recipients by class (reputation.OUTCOMES)."""


class Past:
    """Puts the past into the memory. `source` names where it comes from; its hours must come in their order."""

    def __init__(self, state: State, now: float) -> None:
        """`now`: unix seconds; what was learned fades up to then."""
        self._state, self._now = state, now
        self._script = state.script(lua(_lua("record") + _lua("past")))

    def sender(self, sender: Sender, hour: Hour, source: str) -> asyncio.Future[int]:
        """Take in an hour of a sender; 0 if it was known. The future raises StateDown, as may this."""
        traffic, _, profile, account, known, *_ = _keys(sender)
        habits = account if _keeper(sender) == 2 else profile
        if self._now - hour.begin < _YOUNG:
            hour = msgspec.structs.replace(hour, networks=(), placed=0)
        hashes = [_hash("network" + name) for name in hour.networks]
        hashes += [_hash("rcpt" + address.lower()) for address in hour.took]
        outcomes = b"".join(
            _OUTCOME.pack(OUTCOMES.index(name), min(number, _MOST)) for name, number in sorted(hour.outcomes.items())
        )
        keys = [traffic, profile, habits, known, b"h" + traffic[1:]]
        return self._start(keys, hour, source, True, outcomes, hashes)

    def account(self, sender: Sender, begin: float, recipients: int, source: str) -> asyncio.Future[int]:
        """Take in how many recipients a sender's whole account had in an hour. Raises StateDown."""
        traffic, profile = _keys(sender)[1], _keys(sender)[3]
        keys = [traffic, profile, profile, b"k" + traffic[1:], b"h" + traffic[1:]]
        return self._start(keys, Hour(begin, 0, recipients), source, False, b"", [])

    def _start(
        self, keys: list[bytes], hour: Hour, source: str, whole: bool, outcomes: bytes, hashes: list[bytes]
    ) -> asyncio.Future[int]:
        numbers = (hour.messages, hour.recipients, hour.failed, hour.placed, len(hour.networks), whole)
        head = _HEAD.pack(self._now, hour.begin, *numbers)
        return self._state.start(self._script, keys, [head, source, outcomes, *hashes])
