"""Where what is remembered lies in Redis: the keys of a sender and its account, and the hashes of what is looked up."""

from __future__ import annotations

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
    """One hash slot for each account: {account}. The identity rules let no brace into a name."""
    account, name = sender.account.encode(), sender.name.encode()
    one, all_ = b"{%b}:%b" % (account, name), b"{%b}" % account
    keeper = all_ if keeper_of(sender) == 2 else one
    return Keys(b"t:" + one, b"t:" + all_, b"p:" + one, b"p:" + all_, b"k:" + keeper, b"n:" + keeper, b"y:" + keeper)


def keeper_of(sender: Sender) -> int:
    """Whose habits count: 1 the sender's own, 2 its account's, which the scripts in it share."""
    return 2 if sender.kind in ("script", "system") else 1


def hashed(text: str) -> bytes:
    """Signed 32 bits in decimal: a set of such numbers takes 4 octets each in Redis (intset)."""
    number = xxhash.xxh32_intdigest(text.encode("utf-8", "replace"))
    return b"%d" % (number - 4294967296 if number > 2147483647 else number)
