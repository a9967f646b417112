"""By which pool a message goes: that of its sender's class, or one that a person has pinned the sender to. Pure.

The classes in the order of the harm that their mail does to an address, least first: trusted, normal, new, bulk,
bounces, forwarded, doubtful. If a message cannot go by its pool, because our addresses are refused there or rest, it
goes by one of those named in `otherwise`. What `*` means there:

- a pool that carries mail of its class, or of a worse one: so nothing gets worse than it is, and doubtful mail never
  comes to an address that is kept for better mail;
- but no pool that is kept for forwarded and doubtful mail, unless the message is such: what is refused there anyway
  would only be refused once more.

Where no pool names a class, all carry everything, in the order of the configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

from outbound_guard.config import Pool

ORDER = ("trusted", "normal", "new", "bulk", "bounces", "forwarded", "doubtful")
"""Classes whose mail leaves, by the harm it does to an address."""
_RANK = {name: rank for rank, name in enumerate(ORDER)}
_SPOILT = _RANK["forwarded"]

UNKNOWN = "new"
"""The class of mail of which none is known."""


class Choice:
    """The pools of a configuration, and who goes by which."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        """`pools`: at least one."""
        self.names = tuple(pool.name for pool in pools)
        self.default = "default" if "default" in self.names else self.names[0]
        named: dict[str, str] = {class_: pool.name for pool in pools for class_ in pool.classes}
        self.by_class = {class_: named.get(class_, self.default) for class_ in ORDER}
        # A person may let go what a suspended sender has sent.
        self.by_class["suspended"] = self.by_class["doubtful"]
        self._carried = {name: [_RANK[one] for one in ORDER if self.by_class[one] == name] for name in self.names}
        self._mixed = not named
        self._otherwise = {pool.name: pool.otherwise for pool in pools}
        self._ways = {
            (name, class_): self._way(name, class_) for name in self.names for class_ in (*ORDER, "suspended")
        }

    def way(self, class_: str, pinned: str = "") -> tuple[str, ...]:
        """The pools that a message of this class may go by, in their order; the first one is its own.

        A pool that is `pinned` and does not exist (any more) has no effect, nor has an unknown class.
        """
        known = class_ if class_ in self.by_class else UNKNOWN
        return self._ways[pinned if pinned in self._carried else self.by_class[known], known]

    def carried(self, pool: str) -> tuple[str, ...]:
        """The classes that go by a pool, those that nobody names included."""
        return tuple(ORDER[rank] for rank in self._carried[pool])

    def _way(self, first: str, class_: str) -> tuple[str, ...]:
        rank = _RANK.get(class_, _RANK["doubtful"])
        way = [first]
        for name in self._otherwise[first]:
            if name != "*":
                way.append(name)
                continue
            way += [other for other in self.names if self._bears(other, rank)]
        return tuple(dict.fromkeys(way))

    def _bears(self, pool: str, rank: int) -> bool:
        """True if mail of this rank makes the addresses of a pool no worse than they are."""
        carried = self._carried[pool]
        if self._mixed:
            return True
        return bool(carried) and rank <= carried[-1] and (carried[0] < _SPOILT or rank >= _SPOILT)
