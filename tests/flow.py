"""Mail that flows through the product all the while something else is done to it."""

from __future__ import annotations

import random

from tests.loadclient import Answered, Load, Mail, mail, reconcile
from tests.nexthop import NextHop
from tests.product import Hops, Product, until


class Flow:
    """Eight senders, from the beginning to `end`. All its mail goes to `hop`."""

    def __init__(self, hops: Hops, product: Product, hop: NextHop) -> None:
        self._hops, self._product, self._hop = hops, product, hop
        self._rng = random.Random(1)
        self.load = Load(lambda: product.address, self._mail)
        hops.call(self.load.start())

    def _mail(self, key: str) -> Mail:
        # So many senders that nobody's volume is out of the ordinary.
        sender = f"sender{self._rng.randrange(2000)}@customer{self._rng.randrange(200)}.test"
        return mail(key, sender, [f"recipient-{key}@there.test"], 2000, self._rng)

    def goes_on(self, number: int = 60) -> None:
        """Return when so many more messages have been answered."""
        wanted = len(self.load.answered) + number
        until(lambda: len(self.load.answered) >= wanted, self._product.said)

    def end(self, *, killed: bool = False) -> list[Answered]:
        """Let all be answered and delivered: each has arrived, whole, and, unless somebody was `killed`, once."""
        answered = list(self._hops.call(self.load.finish()).values())
        spool = self._product.data / "spool"
        until(lambda: not [*(spool / "incoming").iterdir(), *(spool / "queue").iterdir()], "all is delivered")
        account = reconcile(answered, self._hop.messages)
        assert (account.lost, account.corrupted) == ([], [])
        assert all(one.reply.startswith("250 ") for one in answered)
        if not killed:
            assert account.duplicated == {}
            assert all(one.tries == 1 for one in answered)
        return answered
