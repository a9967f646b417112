"""What became of one try to deliver a message."""

from __future__ import annotations

import msgspec

from outbound_guard.reply import Reply


class Result(msgspec.Struct, frozen=True):
    """One reply for each recipient of the envelope, in its order."""

    replies: tuple[Reply, ...]
    peer: str
    """The next hop that answered, `host:port`; empty if none could be reached."""
    reached: bool = True
    """False if no next hop took part: connecting failed or broke off before an answer to the end of data."""
