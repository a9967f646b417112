"""Where what is remembered lies in Redis: the keys of a sender and its account, and the hashes of what is looked up."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import xxhash

from outbound_guard.mail import Sender


class Keys(NamedTuple):
    """The keys of one sender, in the order in which recall.lua and learn.lua take them."""

    sender: bytes
    account: bytes
    """Their records."""
    known: bytes
    """What the keeper of the habits knows, if it is much; else its record holds it."""


def keys_of(sender: Sender) -> Keys:
    """All in the hash slot of the account."""
    return _keys(sender.account, sender.name, keeper_of(sender))


@lru_cache(4096)  # Asked twice a message, and senders send more than one.
def _keys(account: str, name: str, keeper_of_habits: int) -> Keys:
    one, all_ = record_of(account, name), record_of(account)
    return Keys(one, all_, b"k" + (all_ if keeper_of_habits == 2 else one)[1:])


def record_of(account: str, sender: str = "") -> bytes:
    """The key of a sender's record, or of its account's.

    What an address or a script has in common with its account is not written twice: memory is counted in octets.
    """
    key = b"s:" + tag(account)
    if not sender:
        return key
    if sender.endswith("@" + account):
        return b"%b@%b" % (key, sender[: -len(account) - 1].encode())
    if sender.startswith(account):
        return b"%b+%b" % (key, sender[len(account) :].encode())
    return b"%b:%b" % (key, sender.encode())


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


NONE = bytes(4)
"""The hash of what is not there; nothing that is there has it."""


def hashed(text: str) -> bytes:
    """Four octets."""
    return xxhash.xxh32_digest(text.encode("utf-8", "replace"))


def hashed_all(texts: Iterable[str]) -> bytes:
    """`hashed` of each, one after the other; of an empty text NONE: there is nothing to look up."""
    # One string for the script, which costs a tenth of as many arguments.
    digest = xxhash.xxh32_digest
    return b"".join([digest(text.encode("utf-8", "replace")) if text else NONE for text in texts])
