"""What is remembered of a sender, an account and a campaign, and how it lies in Redis.

A sender, and an account, has one record: its traffic, which every message changes, its profile, which is learned, and
whom it knows. A record is one packed string (record.lua); the scripts unpack, change and pack parts of it in one step.
The fields are listed here, and `lua` writes them into the scripts. Only recall.lua knows the traffic's order by itself.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import msgspec

TRAITS = ("network", "from", "name", "software", "zone", "script", "reply", "language", "charset", "hours")
"""What a sender is known by, beside the recipients: the client's network, the From address and display name, the
program that writes the mail, the time zone of its Date field, for an account the scripts in it, a Reply-To that leads
elsewhere, the language and charset of its texts, and the time of day."""

OUTCOMES = ("delivered", "unknown_user", "refused", "our_address", "later", "complaint", "reached")
"""What the world answered, by class, as far as it speaks about the sender. `reached` are those of the delivered that
the sender had never written to before, and `unknown_user` counts only such: these speak of a list of addresses."""

YOUNG = 43_200
"""Seconds from first sight until a trait can become known, so that whoever took the account over this morning is no
habit by noon. Recipients become known at once."""

SLOTS = 16
"""Running sums of evidence a record has room for: one for each signal, in the order of `signals.CHECKS`."""

_SETTLED = 3.0
"""Messages of a known network, or script, from which on others are strange."""
_ACQUAINTED = 20
"""Messages after which a sender is no stranger any more."""
_SUSPECT = 3.0
"""Nats of its content that make a new sender one: such a text is twenty times as common in spam."""
_WINDOWS = ("minute", "hour", "day")
_COUNTS = ("messages", "recipients", "new")
Fields = tuple[tuple[str, str], ...]

TRAFFIC: Fields = (
    *((f"{w}{suffix}", kind) for w in _WINDOWS for suffix, kind in (("", "I"), *((f"_{c}", "f") for c in _COUNTS))),
    *((f"{w}_before_{c}", "f") for w in _WINDOWS for c in _COUNTS),
    ("hour_peak", "f"),
    ("day_peak", "f"),
)
"""What was sent of late, and the highest calm hour and day (recipients). Counted with each message."""

PROFILE: Fields = (
    ("messages", "f"),
    ("recipients", "f"),
    ("new", "f"),
    ("domains", "f"),
    ("domains_new", "f"),
    ("content", "f"),
    ("content_seen", "f"),
    ("copied", "f"),
    *((f"{t}_{c}", "f") for t in TRAITS for c in ("seen", "new")),
    *((o, "f") for o in OUTCOMES),
    ("outcomes_at", "d"),
    ("sums_at", "d"),
    *((f"sum{i}", "f") for i in range(SLOTS)),
    ("suspended", "d"),
    ("trust", "f"),
)
"""What was learned: habits, answers of the world, running sums of evidence, standing."""


class _Layout:
    """How a kind of record is packed."""

    def __init__(self, name: str, fields: Fields) -> None:
        self.names = [field for field, _ in fields]
        record: Any = namedtuple(name, self.names)  # type: ignore[misc]  # The names come from the table.
        self.make: Callable[..., Any] = record._make
        self.empty = self.make([0] * len(fields))
        self.struct = struct.Struct("<" + "".join(kind for _, kind in fields))
        self.lua_format = "<" + "".join({"I": "I4"}.get(kind, kind) for _, kind in fields)

    def decode(self, packed: bytes) -> Any:
        """A record from its packed form. A missing one, or one of another layout, is empty: memory may be lost."""
        if len(packed) != self.struct.size:
            return self.empty
        return self.make(self.struct.unpack(packed))


_traffic, _profile = _Layout("Traffic", TRAFFIC), _Layout("Profile", PROFILE)
NO_TRAFFIC, NO_PROFILE = _traffic.empty, _profile.empty
_MARK = bytes([zlib.crc32(repr((TRAFFIC, PROFILE)).encode()) % 256])
"""The first octet of a record: one of other fields is as good as none."""
_HEAD = 1 + _traffic.struct.size


def decode_record(record: bytes | None, changed: bytes = b"") -> tuple[Any, Any]:
    """The traffic and the profile of a record as it lies there. A missing one, or one of another layout, is empty.

    `changed`: what the traffic begins with by now.
    """
    if not record or record[0] != _MARK[0]:
        return (_traffic.decode(changed) if changed else NO_TRAFFIC), NO_PROFILE
    traffic = changed + record[1 + len(changed) : _HEAD]
    return _traffic.decode(traffic), _profile.decode(record[_HEAD : _HEAD + _profile.struct.size])


_SUM0 = _profile.names.index("sum0")


def lua(text: str) -> str:
    """A script with what it takes from here.

    In place of `T.name` and `P.name` it gets the numbers of fields (from 1), of `T.COUNT` how many there are, of
    `T.SIZE` their octets, of `T.FORMAT` how they are packed, of `P.SUMS_AT` where in a profile the sums begin (from 1).
    """
    numbers = {
        f"{letter}.{name}": str(i)
        for letter, layout in (("T", _traffic), ("P", _profile))
        for i, name in enumerate(layout.names, 1)
    }
    for letter, layout in (("T", _traffic), ("P", _profile)):
        numbers[f"{letter}.COUNT"] = str(len(layout.names))
        numbers[f"{letter}.SIZE"] = str(layout.struct.size)
        numbers[f"{letter}.FORMAT"] = f"'{layout.lua_format}'"
    numbers["P.SUMS_AT"] = str(1 + struct.calcsize("<" + "".join(kind for _, kind in PROFILE[:_SUM0])))
    head = f"local SLOTS, TRAITS, YOUNG, MARK = {SLOTS}, {len(TRAITS)}, {YOUNG}, '\\{_MARK[0]:03}'\n"
    return head + re.sub(r"\b([TP]\.\w+)", lambda found: numbers[found[1]], text)


def sums(profile: Any, now: float, half_life: float) -> list[float]:
    """The running sums of evidence (nats) by slot, decayed to `now` (unix seconds)."""
    stored = profile[_SUM0 : _SUM0 + SLOTS]
    if not profile.sums_at:
        return list(stored)
    factor = 0.5 ** (max(0.0, now - profile.sums_at) / half_life)
    return [value * factor for value in stored]


_LENGTH = {"minute": 60, "hour": 3600, "day": 86400}
_PLACES = {
    (window, what): (
        _LENGTH[window],
        *(_traffic.names.index(name) for name in (window, f"{window}_{what}", f"{window}_before_{what}")),
    )
    for window in _WINDOWS
    for what in _COUNTS
}
"""Length of a window, and where its start and its two counts stand in the record."""
_TRAIT = {trait: place for place, trait in enumerate(TRAITS)}
_HABIT = {trait: _profile.names.index(f"{trait}_seen") for trait in TRAITS}


def places_of(trait: str) -> tuple[int, int]:
    """Where a trait stands in `Memory.shows` and `new_traits`, and in a profile: how often it was seen, then new."""
    return _TRAIT[trait], _HABIT[trait]


def counts_at(window: str, what: str) -> tuple[int, int]:
    """Where in the traffic the two counts stand of which `recent` is made: it is never more than their sum."""
    _, _, current, before = _PLACES[window, what]
    return current, before


def recent(traffic: Any, window: str, what: str, now: float) -> float:
    """Messages, recipients or new recipients (`what`) in the last minute, hour or day (`window`) up to `now`.

    Two fixed windows make a sliding one: of the one before, the share that still lies in the past `window` counts.
    """
    length, at_start, at_current, at_before = _PLACES[window, what]
    index, into = divmod(now, length)
    start = traffic[at_start]
    current: float = traffic[at_current]
    if start == index:
        before: float = traffic[at_before]
        return current + before * (1 - into / length)
    return current * (1 - into / length) if start == index - 1 else 0.0


class Company(msgspec.Struct, frozen=True):
    """Who else has sent what several may share: a text, or mail from one address."""

    senders: int = 0
    """Senders that have, this one included."""
    hot: int = 0
    """Other senders that were under suspicion when they did."""
    good: int = 0
    """Decisions of people that released it."""
    bad: int = 0
    """Decisions of people that confirmed it as abuse."""
    times: int = 0
    """How often this sender has, this time included."""


class Memory(msgspec.Struct, frozen=True):
    """All that is remembered about one submission's sender, in one round trip."""

    sender: Any
    account: Any
    """Profiles."""
    sender_traffic: Any
    account_traffic: Any
    keeps: str = "sender"
    """Whose habits count: a mailbox has its own ("sender"), the scripts of an account share the account's."""
    recipients: int = 0
    """Recipients of the message that were looked up."""
    new_recipients: int = 0
    domains: int = 0
    """Domains of the recipients that were looked up."""
    new_domains: int = 0
    new_traits: tuple[bool, ...] = (False,) * len(TRAITS)
    """Values that are not known (yet)."""
    first_seen: bool = False
    """True if one of them was never seen before; else they were seen in the last hours already."""
    campaign: Company | None = None
    """Of the text; None if it is too short."""
    near: Company | None = None
    """Of texts that are nearly the same, counted by account; None if it is no stranger."""
    neighbours: dict[str, Company] = {}
    """Strangers of late by what they share: `address`, the accounts to which this client's network was new; `account`,
    its senders; `server`, its accounts. Empty if it is no stranger."""
    company: tuple[tuple[bytes, str], ...] = ()
    """What was looked up for these two: names, and as whom this sender counts there."""
    shows: tuple[bool, ...] = (True,) * len(TRAITS)
    """Traits that the message has."""
    hashes: bytes = b""
    """Of its traits, then of the recipients and domains that are new: four octets each."""
    networks: int = 0
    """Networks within two hours from which it was never used before, this one included."""
    available: bool = True
    """False while the store is down: nothing is known, and nothing is held against the sender."""

    @property
    def new_share(self) -> float:
        """The share of the recipients that are new to this sender."""
        return self.new_recipients / self.recipients if self.recipients else 1.0

    @property
    def keeper(self) -> Any:
        """The profile whose habits count."""
        return self.account if self.keeps == "account" else self.sender

    def strange(self, content: float) -> bool:
        """True if the sender has its network, or its scripts, and this is another one.

        Also if little is known of it, and its text is suspect: `content` is what the model says of that, in nats.
        """
        if not self.available:
            return False
        for trait in ("network", "script"):
            seen, new = self.habit(trait)
            if self.is_new(trait) and seen - new >= _SETTLED:
                return True
        return content >= _SUSPECT and self.keeper.messages < _ACQUAINTED

    @property
    def hour_peak(self) -> float:
        """Recipients in the highest calm hour of whoever keeps the habits."""
        traffic = self.account_traffic if self.keeps == "account" else self.sender_traffic
        return float(max(self.sender_traffic.hour_peak, traffic.hour_peak))

    @property
    def day_peak(self) -> float:
        """The same of its days."""
        traffic = self.account_traffic if self.keeps == "account" else self.sender_traffic
        return float(max(self.sender_traffic.day_peak, traffic.day_peak))

    def is_new(self, trait: str) -> bool:
        """True if this value of the trait was never seen of this sender, or first seen a few hours ago."""
        return self.new_traits[_TRAIT[trait]]

    def has(self, trait: str) -> bool:
        """True if the message shows this trait at all."""
        return self.shows[_TRAIT[trait]]

    def habit(self, trait: str) -> tuple[float, float]:
        """How often the trait was seen in calm times, and how often it was new then."""
        place = _HABIT[trait]
        profile = self.account if self.keeps == "account" else self.sender
        return profile[place], profile[place + 1]


NOTHING = Memory(NO_PROFILE, NO_PROFILE, NO_TRAFFIC, NO_TRAFFIC, available=False)
