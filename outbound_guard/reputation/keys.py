"""Where what is remembered lies in Redis: the keys of a sender and its account, and the hashes of what is looked up."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import xxhash

from outbound_guard.mail import Sender


class Keys(NamedTuple):
    """The keys of one sender, in the order in which recall.lua and learn.lua take them."""

    traffic: bytes
    account_traffic: bytes
    profile: bytes
    account_profile: bytes
    known: bytes
    """What the keeper of the habits knows."""
    networks: bytes
    """Networks of the last two hours that it does not know."""
    young: bytes
    """Traits that are not known yet."""


def keys_of(sender: Sender) -> Keys:
    """All in the hash slot of the account."""
    return _keys(sender.account, sender.name, keeper_of(sender))


@lru_cache(4096)  # Asked twice a message, and senders send more than one.
def _keys(account: str, name: str, keeper_of_habits: int) -> Keys:
    all_ = tag(account)
    one = b"%b:%b" % (all_, name.encode())
    keeper = all_ if keeper_of_habits == 2 else one
    return Keys(b"t:" + one, b"t:" + all_, b"p:" + one, b"p:" + all_, b"k:" + keeper, b"n:" + keeper, b"y:" + keeper)


def tag(account: str) -> bytes:
    """{account}: what decides on the hash slot, and stands in each of its keys behind their kind.

    The identity rules let no brace into a name, the directory does. Up to the first closing one is enough to keep keys
    together; but nothing at all between the braces would scatter them (Redis Cluster specification, hash tags).
    """
    name = account.encode()
    return b"{_%b}" % name if name[:1] in (b"", b"}") else b"{%b}" % name


def keeper_of(sender: Sender) -> int:
    """Whose habits count: 1 the sender's own, 2 its account's, which the scripts in it share."""
    return 2 if sender.kind in ("script", "system") else 1


def hashed(text: str) -> bytes:
    """Signed 32 bits in decimal: a set of such numbers takes 4 octets each in Redis (intset)."""
    number = xxhash.xxh32_intdigest(text.encode("utf-8", "replace"))
    return b"%d" % (number - 4294967296 if number > 2147483647 else number)


def hashed_all(texts: Iterable[str]) -> list[bytes]:
    """`hashed` of each; of an empty text an empty one: there is nothing to look up."""
    # A loop of its own, since a message has ten: calls would cost as much as what they do.
    numbers = [xxhash.xxh32_intdigest(text.encode("utf-8", "replace")) if text else None for text in texts]
    return [
        b"" if number is None else b"%d" % (number - 4294967296 if number > 2147483647 else number)
        for number in numbers
    ]
