"""What is remembered of an account and its senders, for people to see, to take away, or to have erased.

All keys of an account carry its name in braces (keys.py). What others share with it does not: campaigns and addresses
keep 32-bit hashes of its senders, which name nobody and go by themselves within a week.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from outbound_guard.reputation import Reputation
from outbound_guard.reputation.classes import Circumstances, Class, class_of, together
from outbound_guard.reputation.keys import record_of, tag
from outbound_guard.reputation.memory import decode_record, recent, sums

_AT_ONCE = 500
"""Records or keys asked for at a time: other calls wait no longer for it than for a message."""
_GLOB = str.maketrans({letter: f"\\{letter}" for letter in "*?[]^-\\"})


class Portrait(msgspec.Struct, frozen=True):
    """The two halves of the record of a sender, or of an account."""

    profile: Any
    traffic: Any

    @property
    def known(self) -> bool:
        """True if anything was ever learned or counted."""
        return any(self.profile) or any(self.traffic)

    def suspicion(self, now: float, half_life: float) -> float:
        """The sum of the evidence against it (nats) at `now` (unix seconds)."""
        return sum(sums(self.profile, now, half_life))

    def plain(self, now: float, half_life: float) -> dict[str, Any]:
        """As names and numbers."""
        return {
            "suspicion": self.suspicion(now, half_life),
            "messages_last_hour": recent(self.traffic, "hour", "messages", now),
            "messages_last_day": recent(self.traffic, "day", "messages", now),
            "recipients_last_hour": recent(self.traffic, "hour", "recipients", now),
            "recipients_last_day": recent(self.traffic, "day", "recipients", now),
            "traffic": self.traffic._asdict(),
            "profile": self.profile._asdict(),
        }


async def portraits(memory: Reputation, whom: Sequence[tuple[str, str]]) -> list[Portrait]:
    """What is remembered of each pair of account and sender; an empty sender means the account. Raises StateDown."""
    found: list[Portrait] = []
    for start in range(0, len(whom), _AT_ONCE):
        records = await memory.state.get([record_of(*one) for one in whom[start : start + _AT_ONCE]])
        for traffic, profile in map(decode_record, records):
            found.append(Portrait(profile, traffic))
    return found


def class_of_account(
    own: Portrait, senders: Sequence[Portrait], now: float, half_life: float, now_is: Circumstances
) -> Class:
    """The class of an account: by its own records and those of its senders, the most suspicious of which counts."""
    profile = together([one.profile for one in senders], own.profile)
    suspicion = max(one.suspicion(now, half_life) for one in (own, *senders))
    return class_of(profile, own.traffic, suspicion, now_is)


async def keys_of_account(memory: Reputation, account: str) -> AsyncIterator[bytes]:
    """Every key that is kept of an account and its senders. It looks at all keys of the store. Raises StateDown."""
    begin = tag(account)
    async for key in memory.state.scan(b"?:" + begin.decode().translate(_GLOB).encode() + b"*"):
        # A name may go on where this one ends, if somebody has put a brace into it.
        if key[2 + len(begin) : 3 + len(begin)] in (b"", b":", b"@", b"+"):
            yield key
    # What its senders share; the other two are of a version that was never released.
    for form in (b"c&%b", b"c:{&%b}", b"ch:{&%b}"):
        key = form % account.encode()
        if await memory.state.command("EXISTS", key):
            yield key


async def erase(memory: Reputation, account: str) -> int:
    """Remove every key of an account and its senders; how many there were. Raises StateDown."""
    gone = 0
    some: list[bytes] = []
    async for key in keys_of_account(memory, account):
        some.append(key)
        if len(some) >= _AT_ONCE:
            gone += await memory.state.remove(some)
            some = []
    return gone + await memory.state.remove(some)


async def forget_log(memory: Reputation) -> None:
    """Have the store write its append-only file anew, so that what was removed is not in there. Raises StateError."""
    await memory.state.everywhere("BGREWRITEAOF")
