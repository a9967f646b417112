"""What is remembered of a sender, an account and a campaign, and how it lies in Redis.

A record is one packed string of numbers; the scripts unpack, change and pack it in one step. The fields are listed
here and nowhere else: `lua_prelude` writes them into the scripts.
"""

from __future__ import annotations

import struct
from collections import namedtuple
from typing import Any

import msgspec

TRAITS = ("network", "from", "name", "software", "zone", "script")
"""What a sender is known by, beside the recipients: the client's network, the From address and display name, the
program that writes the mail, the time zone of its Date field, and, for an account, the scripts in it."""

OUTCOMES = ("delivered", "unknown_user", "refused", "our_address", "later", "complaint")
"""What the world answered, by class, as far as it speaks about the sender."""

SLOTS = 16
"""Running sums of evidence a record has room for: one for each signal, in the order of `signals.CHECKS`."""

_WINDOWS = ("minute", "hour", "day")
_COUNTS = ("messages", "recipients", "new")

_FIELDS: tuple[tuple[str, str], ...] = (
    ("first", "d"),
    ("last", "d"),
    *((f"{w}{suffix}", kind) for w in _WINDOWS for suffix, kind in (("", "I"), *((f"_{c}", "f") for c in _COUNTS))),
    *((f"{w}_before_{c}", "f") for w in _WINDOWS for c in _COUNTS),
    ("messages", "f"),
    ("recipients", "f"),
    ("new", "f"),
    ("hour_peak", "f"),
    ("hour_mean", "f"),
    ("day_peak", "f"),
    ("day_mean", "f"),
    ("days", "f"),
    ("networks", "f"),
    *((f"{t}_{c}", "f") for t in TRAITS for c in ("seen", "new")),
    *((o, "f") for o in OUTCOMES),
    ("outcomes_at", "d"),
    ("sums_at", "d"),
    *((f"sum{i}", "f") for i in range(SLOTS)),
    ("suspended", "d"),
    ("trust", "f"),
)

_FORMAT = "<" + "".join(kind for _, kind in _FIELDS)
_unpack = struct.Struct(_FORMAT).unpack
_RECORD_SIZE = struct.calcsize(_FORMAT)
_SUM0 = [name for name, _ in _FIELDS].index("sum0")

Record = namedtuple("Record", [name for name, _ in _FIELDS])  # type: ignore[misc]  # The names come from the table above.
EMPTY = Record(*(0 for _ in _FIELDS))


def lua_prelude() -> str:
    """The head of every script: field numbers by name, their number, and the packing format."""
    names = ",".join(f"{name}={i}" for i, (name, _) in enumerate(_FIELDS, 1))
    packing = "<" + "".join({"I": "I4"}.get(kind, kind) for _, kind in _FIELDS)
    numbers = f"{len(_FIELDS)}, '{packing}', {SLOTS}, {len(TRAITS)}"
    return f"local F = {{{names}}}\nlocal FIELDS, FORMAT, SLOTS, TRAITS = {numbers}\n"


def decode(packed: bytes | None) -> Any:
    """A Record from its packed form. A missing one, or one of another layout, is empty: memory may be lost."""
    if packed is None or len(packed) != _RECORD_SIZE:
        return EMPTY
    return Record._make(_unpack(packed))


def sums(record: Any, now: float, half_life: float) -> list[float]:
    """The running sums of evidence (nats) by slot, decayed to `now` (unix seconds)."""
    stored = record[_SUM0 : _SUM0 + SLOTS]
    if not record.sums_at:
        return list(stored)
    factor = 0.5 ** (max(0.0, now - record.sums_at) / half_life)
    return [value * factor for value in stored]


_LENGTH = {"minute": 60, "hour": 3600, "day": 86400}


def recent(record: Any, window: str, what: str, now: float) -> float:
    """Messages, recipients or new recipients (`what`) in the last minute, hour or day (`window`) up to `now`.

    Two fixed windows make a sliding one: of the one before, the share that still lies in the past `window` counts.
    """
    length = _LENGTH[window]
    index, into = divmod(now, length)
    start = getattr(record, window)
    current: float = getattr(record, f"{window}_{what}")
    if start == index:
        before: float = getattr(record, f"{window}_before_{what}")
        return current + before * (1 - into / length)
    return current * (1 - into / length) if start == index - 1 else 0.0


class Campaign(msgspec.Struct, frozen=True):
    """One text, wherever it was seen."""

    senders: int = 0
    """Senders that have sent it, this one included."""
    hot: int = 0
    """Other senders that were under suspicion when they sent it."""
    messages: int = 0
    good: int = 0
    """Decisions of people that released it."""
    bad: int = 0
    """Decisions of people that confirmed it as abuse."""


class Memory(msgspec.Struct, frozen=True):
    """All that is remembered about one submission's sender, in one round trip."""

    sender: Any
    account: Any
    keeper: Any
    """The record whose habits count: a mailbox has its own, the scripts of an account share the account's."""
    new_recipients: int = 0
    new_traits: tuple[bool, ...] = (False,) * len(TRAITS)
    campaign: Campaign | None = None
    hashes: tuple[bytes, ...] = ()
    """Of traits and recipients, as they were looked up."""
    available: bool = True
    """False while the store is down: nothing is known, and nothing is held against the sender."""

    def is_new(self, trait: str) -> bool:
        """True if this value of the trait was never seen of this sender."""
        return self.new_traits[TRAITS.index(trait)]

    def habit(self, trait: str) -> tuple[float, float]:
        """How often the trait was seen in calm times, and how often it was new then."""
        return getattr(self.keeper, f"{trait}_seen"), getattr(self.keeper, f"{trait}_new")


NOTHING = Memory(sender=EMPTY, account=EMPTY, keeper=EMPTY, available=False)
