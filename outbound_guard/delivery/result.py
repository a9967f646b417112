"""What became of one try to deliver a message."""

from __future__ import annotations

import msgspec

from outbound_guard.delivery.wire import NO_SMTPUTF8
from outbound_guard.reply import Reply


class Result(msgspec.Struct, frozen=True):
    """One reply for each recipient of the envelope, in its order."""

    replies: tuple[Reply, ...]
    peer: str
    """The next hop that answered (the last one, if several did), `host:port`; empty if none could be reached."""
    reached: bool = True
    """False if no next hop took part: connecting failed or broke off before an answer to the end of data."""
    peers: tuple[str, ...] = ()
    """For each recipient the next hop that answered for it, if several may have; else empty."""
    listed: tuple[int, ...] = ()
    """Places of the recipients that nobody has, because every next hop tried refuses our own address."""
    source: str = ""
    """The address of ours that `peer` was spoken to from; empty if the system chose it, or nobody was spoken to."""
    sources: tuple[str, ...] = ()
    """The same for each of `peers`."""
    wait: float = 0.0
    """If not 0: nobody was asked for those who are to be tried again, who may come after so many seconds."""
    keep: bool = False
    """True if it is our own queue that tries again what was refused for now, and not the client."""
    relayed: tuple[int, ...] = ()
    """Places of the recipients whose success was to be reported and who were taken by a next hop that will not do so:
    it is for us to say that the message was relayed (RFC 3461 5.2.2)."""

    def peer_of(self, place: int) -> str:
        """The next hop that answered for the recipient at this place."""
        return self.peers[place] if place < len(self.peers) else self.peer

    def source_of(self, place: int) -> str:
        """The address of ours from which the recipient at this place was tried for; empty if not known."""
        return self.sources[place] if place < len(self.sources) else self.source

    def followed_by(self, later: Result) -> Result:
        """This result, with what came of another try that was made for those `listed`, in their order."""
        if not later.reached and not later.peer:
            return self  # Nobody was there.
        replies, listed = list(self.replies), []
        peers = [self.peer_of(place) for place in range(len(replies))]
        sources = [self.source_of(place) for place in range(len(replies))]
        for index, place in enumerate(self.listed):
            # What this way could not carry may go another way as soon as our address is taken again.
            if later.replies[index] == NO_SMTPUTF8:
                listed.append(place)
                continue
            replies[place], peers[place] = later.replies[index], later.peer_of(index)
            sources[place] = later.source_of(index)
            if index in later.listed:
                listed.append(place)
        reached = later.reached or bool(listed) or len(self.listed) < len(replies)
        relayed = self.relayed + tuple(self.listed[index] for index in later.relayed)
        return Result(
            tuple(replies),
            later.peer,
            reached,
            tuple(peers),
            tuple(listed),
            later.source,
            tuple(sources),
            keep=self.keep or later.keep,
            relayed=relayed,
        )
