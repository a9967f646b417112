"""What one message has met in a pool: where it need not be tried again, and who is still to be tried for.

Where a next hop refuses our own address, the recipients concerned are tried for from another address or elsewhere. The
others keep the answer they have got: nobody who was accepted is offered the message again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from outbound_guard.delivery.classes import refuses_us
from outbound_guard.delivery.pool import Host
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.wire import NO_SMTPUTF8, Mail
from outbound_guard.reply import NO_NEXT_HOP, Reply

MOST_REFUSALS = 10
"""So often a message may meet with a refusal of our address before it is given up for now: its client waits."""

_NONE: frozenset[Host] = frozenset()
_NOBODY = (NO_NEXT_HOP, "", False, "")


def listed(said: Reply) -> Reply:
    """What a refusal of our own address becomes: temporary, since it is not the sender's fault, and may pass."""
    return Reply(451, "4.7.1", f"OG-LISTED the next hop refuses our address, saying: {said}")


class Attempt:
    """One message on its way."""

    __slots__ = ("_mail", "failed", "fresh", "heard", "refusals", "stale", "unreachable", "until", "verdict", "wary")

    def __init__(self, mail: Mail, until: float = math.inf) -> None:
        """`until`: time of the loop after which nothing new is begun; a message that is out may be answered later."""
        self._mail = mail
        self.until = until
        self.heard: list[Reply] = []
        """What was said instead of greetings, refusals of our address apart."""
        self.failed = _NONE
        """A transaction broke there, or it refuses every address that we have for it."""
        self.unreachable = _NONE
        """No connection could be opened; one that others have opened will do."""
        self.wary = _NONE
        """It refused the address we came from, and was left with another to try."""
        self.fresh: Host | None = None
        """To this one a new connection is to be opened, if possible."""
        self.stale = False
        """True if one reused connection has been found broken."""
        self.verdict = _NOBODY
        """Reply, peer, whether it was reached, and from where: what is to be said if no host is left."""
        self.refusals: Refusals | None = None

    def shuns(self, host: Host) -> bool:
        """True if the message must not go to this host, over whatever connection."""
        return host in self.failed or (host in self.wary and not host.has_address())

    @property
    def exhausted(self) -> bool:
        """True if our address was refused so often that it is enough."""
        return self.refusals is not None and self.refusals.times >= MOST_REFUSALS

    def note(self, replies: Sequence[Reply], host: Host, source: str) -> Reply | None:
        """Keep the answers that settle something, got by speaking from `source` (empty: the system's choice).

        The return value is the refusal of our address among them, if any.
        """
        if self.refusals is None:
            if not any(refuses_us(reply) for reply in set(replies)):
                return None
            self.refusals = Refusals(self._mail)
        return self.refusals.note(replies, host.name, source)

    def refused(self, reply: Reply, host: Host, source: str) -> None:
        """Our address was refused before anything could be said for a recipient, or for all that are left."""
        self.note([reply] * len(self._mail.replies), host, source)

    def given_up(self) -> Result:
        """No host is left."""
        if self.refusals is not None:
            return self.refusals.result()
        reply, peer, reached, source = self.verdict
        return Result(tuple(known or reply for known in self._mail.replies), peer, reached, source=source)

    def unknown(self, reply: Reply, host: Host, source: str) -> Result:
        """Nobody knows whether those who were left have it: `reply` is their answer, and they are not tried again."""
        if self.refusals is not None:
            return self.refusals.result(reply, host.name, source)
        return Result(tuple(known or reply for known in self._mail.replies), host.name, False, source=source)


class Refusals:
    """A message for some of whose recipients our address was refused. What settles the others is noted in its Mail."""

    __slots__ = ("_listed", "_mail", "_peer", "_peers", "_source", "_sources", "times")

    def __init__(self, mail: Mail) -> None:
        self.times = 0
        self._mail = mail
        self._peer = self._source = ""
        self._peers = [""] * len(mail.replies)
        self._sources = [""] * len(mail.replies)
        self._listed: dict[int, Reply] = {}

    @property
    def settled(self) -> bool:
        """True if every recipient has an answer that has nothing to do with our address."""
        return not self._listed

    def note(self, replies: Sequence[Reply], peer: str, source: str) -> Reply | None:
        """Attempt.note; a reply for each place of the mail, of which those that are settled already are ignored."""
        refusal = last = None
        ours = False
        for place, reply in enumerate(replies):
            if self._mail.replies[place] is not None:
                continue
            if reply is not last:  # Most share one.
                last, ours = reply, refuses_us(reply)
            if ours:
                self._listed[place] = listed(reply)
                refusal = reply
            elif place in self._listed and reply is NO_SMTPUTF8:
                continue  # That this hop cannot carry it makes nothing final: one that can may take us again later.
            else:
                self._mail.replies[place] = reply
                self._listed.pop(place, None)
            self._peers[place] = self._peer = peer
            self._sources[place] = self._source = source
        self.times += refusal is not None
        return refusal

    def result(self, unknown: Reply | None = None, peer: str = "", source: str = "") -> Result:
        """What has come of it; for those not settled `unknown` from `peer`, or else that our address is refused."""
        known, peers, sources = self._mail.replies, self._peers.copy(), self._sources.copy()
        if unknown is None:
            replies = tuple(reply or self._listed[place] for place, reply in enumerate(known))
            listed = tuple(self._listed)
            return Result(replies, self._peer, True, tuple(peers), listed, self._source, tuple(sources))
        for place in self._listed:
            peers[place], sources[place] = peer, source
        reached = any(reply and at for reply, at in zip(known, self._peers, strict=True))
        replies = tuple(reply or unknown for reply in known)
        return Result(replies, peer, reached, tuple(peers), (), source, tuple(sources))
