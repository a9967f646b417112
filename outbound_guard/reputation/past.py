"""What senders did before the product was there: hours of their past are put into the memory, each of them once."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence

import msgspec

from outbound_guard.mail import Sender
from outbound_guard.reputation import script
from outbound_guard.reputation.keys import hashed, keeper_of, keys_of
from outbound_guard.reputation.memory import OUTCOMES, YOUNG
from outbound_guard.state import State

_HEAD = struct.Struct("<ddffffHB")
_OUTCOME = struct.Struct("<BH")
_MOST = 65_535


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
        self._script = state.script(script("record", "known", "past"))

    def sender(self, sender: Sender, hour: Hour, source: str) -> asyncio.Future[int]:
        """Take in an hour of a sender; 0 if it was known. The future raises StateDown, as may this."""
        here = keys_of(sender)
        habits = here.account if keeper_of(sender) == 2 else here.sender
        if self._now - hour.begin < YOUNG:
            hour = msgspec.structs.replace(hour, networks=(), placed=0)
        hashes = [hashed("network" + name) for name in hour.networks]
        hashes += [hashed("rcpt" + address.lower()) for address in hour.took]
        # A log does not tell who was written to for the first time; taken together they were.
        answers = {**hour.outcomes, "reached": hour.outcomes.get("delivered", 0)}
        outcomes = b"".join(
            _OUTCOME.pack(OUTCOMES.index(name), min(number, _MOST)) for name, number in sorted(answers.items())
        )
        keys = [here.sender, habits, here.known, b"h" + here.sender[1:]]
        return self._start(keys, hour, source, True, outcomes, hashes)

    def account(self, sender: Sender, begin: float, recipients: int, source: str) -> asyncio.Future[int]:
        """Take in how many recipients a sender's whole account had in an hour. Raises StateDown."""
        record = keys_of(sender).account
        keys = [record, record, b"k" + record[1:], b"h" + record[1:]]
        return self._start(keys, Hour(begin, 0, recipients), source, False, b"", [])

    def _start(
        self, keys: list[bytes], hour: Hour, source: str, whole: bool, outcomes: bytes, hashes: list[bytes]
    ) -> asyncio.Future[int]:
        numbers = (hour.messages, hour.recipients, hour.failed, hour.placed, len(hour.networks), whole)
        head = _HEAD.pack(self._now, hour.begin, *numbers)
        return self._state.start(self._script, keys, [head, source, outcomes, b"".join(hashes)])
