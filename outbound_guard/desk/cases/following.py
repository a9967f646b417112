"""Follows what the blocklist watch and the deliveries write into the ledger, and makes sightings of it."""

from __future__ import annotations

import ipaddress
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from outbound_guard.blocklist.channels import packaged
from outbound_guard.blocklist.own import own_subjects, pools_of, subject_of
from outbound_guard.config import Config
from outbound_guard.delivery.answers import Meaning, meaning_of
from outbound_guard.desk.cases.opening import Sighting, named
from outbound_guard.desk.cases.words import said
from outbound_guard.ledger.records import CaseSubject
from outbound_guard.mail import domain_of
from outbound_guard.reply import Reply, parse

MOST = 20_000
"""Refusals that are kept in mind at once."""
NOTES = 3
"""So many refusals are a pattern if their mail went out another way: after each the next hop was spared the address for
a while, so that it stands for many messages."""

_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{1,4}(?:::?[0-9a-f]{0,4}){2,8})(?![\w:])", re.I)
_RELAYED = re.compile(r"OG-LISTED .*?, saying: (\d{3}) (.*)", re.S)
_NOTED = re.compile(r"refuses our address \S+: ")


class Refusal(msgspec.Struct, frozen=True):
    """A receiver refused a message because of our address."""

    serial: int
    time: float
    message: str
    """Empty: one that went out another way; only that it happened is known, and that at most every few seconds."""
    receiver: str
    subject: str
    """The address of ours that it names or was spoken to from, or `receiver`."""
    text: str
    """As it was said; it may hold personal contact data."""
    names: tuple[str, ...]
    """Lists that it names."""


class Ours:
    """Which addresses are ours, and of which pool."""

    def __init__(self, config: Config, zones: Iterable[str] = ()) -> None:
        """`zones` are the lists that are asked. Raises ConfigError."""
        self._subjects = frozenset(own_subjects(config))
        self._pools = {address: pool for pool, addresses in pools_of(config).items() for address in addresses}
        self._zones = {zone: packaged().of_zone(zone) for zone in zones}

    def pool(self, subject: str) -> str:
        """The pool that an address belongs to; empty if none."""
        return self._pools.get(subject, "")

    def named(self, text: str) -> str:
        """The first address of ours that a text names; empty if none."""
        for found in _ADDRESS.findall(text):
            try:
                subject = str(ipaddress.ip_address(found))
            except ValueError:
                continue
            if subject in self._subjects:
                return subject_of(subject)
        return ""

    def lists(self, text: str) -> tuple[str, ...]:
        """The zones of the lists that a text names; of a known operator, all of its zones."""
        operator, named = packaged().list_in(text)
        folded = text.lower()
        zones = [zone for zone in self._zones if zone in folded]
        zones += [zone for zone, keeper in self._zones.items() if operator is not None and keeper is operator]
        return tuple(dict.fromkeys([*zones, named] if named else zones))


def operator_of(zone: str) -> str:
    """Who keeps a list, by its zone: the name of its channel, else the zone without its first label."""
    channel = packaged().of_zone(zone)
    if channel is not None:
        return channel.name
    _, _, rest = zone.partition(".")
    return rest if "." in rest else zone


def sighting_of(row: dict[str, Any], listing: dict[str, Any] | None, ours: Ours, now: float) -> Sighting:
    """A row of `listing_history` that says "listed", with the row of `listing` it belongs to, if there still is one."""
    subject, zone, reason = row["subject"], row["zone"], said(row["reason"])
    known = listing or {}
    about = CaseSubject(
        subject=subject,
        source=zone,
        operator=operator_of(zone),
        scope=known.get("scope", ""),
        codes=row["codes"],
        reason=reason,
        since=known["first_seen"] if known.get("known") == "listed" else row["time"],
        seen=row["time"],
    )
    says = f", which says: {reason}" if reason else ""
    return Sighting(
        id=f"listing-{row['serial']}",
        time=now,
        about=about,
        pool=ours.pool(subject),
        text=f"{subject} is on {zone} ({row['codes']}){says}",
    )


def meant(row: dict[str, Any]) -> tuple[Reply, Meaning, bool]:
    """What a receiver answered (a row of `delivery`), what it means, and whether it is our address that is refused."""
    reply = Reply(row["code"], row["enhanced"], row["text"])
    if relayed := _RELAYED.match(row["text"]):
        reply = parse(int(relayed[1]), relayed[2])
    noted = _NOTED.match(row["text"])
    if noted:
        reply = Reply(row["code"], row["enhanced"], row["text"][noted.end() :])
    meaning = meaning_of(reply)
    # Slowing us down because of what comes from our addresses is the milder form of refusing them.
    slowed = meaning.coarse == "rate" and meaning.side == "provider"
    return reply, meaning, meaning.coarse == "our_address_blocked" or slowed or bool(relayed or noted)


def refusal_of(row: dict[str, Any], ours: Ours) -> Refusal | None:
    """A row of `delivery`, if the receiver refused our address."""
    reply, meaning, against_us = meant(row)
    if not against_us:
        return None
    # Whose server it is, by what only they write; else whose domain it answers for, or who it is.
    receiver = meaning.provider or domain_of(row["recipient"]) or row["peer"].rpartition(":")[0].strip("[]")
    subject = ours.named(reply.text) or ours.named(row["source_address"]) or "receiver"
    return Refusal(row["serial"], row["time"], row["id"], receiver, subject, str(reply), ours.lists(reply.text))


class Refusals:
    """The refusals of late, to see when one receiver's become a pattern."""

    def __init__(self, ours: Ours, *, enough: int, seconds: float) -> None:
        """`enough` messages refused by one receiver within `seconds` are a pattern."""
        self._ours, self._enough, self._seconds = ours, enough, seconds
        self._recent: deque[Refusal] = deque(maxlen=MOST)

    def remember(self, rows: Iterable[dict[str, Any]]) -> None:
        """Take in rows that were followed before: they count, but are no news."""
        self._recent.extend(refusal for row in rows if (refusal := refusal_of(row, self._ours)))

    def add(self, rows: Iterable[dict[str, Any]], now: float) -> Iterator[Sighting]:
        """Take in rows of `delivery`, oldest first; yields what has become, or still is, a pattern."""
        touched: dict[tuple[str, str], Refusal] = {}
        recent: dict[str, list[Refusal]] = {}
        for row in rows:
            refusal = refusal_of(row, self._ours)
            if refusal is not None:
                self._recent.append(refusal)
                touched[refusal.receiver, refusal.subject] = refusal
        if not touched:
            return
        oldest = min(refusal.time for refusal in touched.values()) - self._seconds
        while self._recent and self._recent[0].time < oldest - self._seconds:
            self._recent.popleft()
        for refusal in self._recent:
            recent.setdefault(refusal.receiver, []).append(refusal)
        for last in touched.values():
            yield from self._pattern(last, recent[last.receiver], now)

    def _pattern(self, last: Refusal, recent: list[Refusal], now: float) -> Iterator[Sighting]:
        since = last.time - self._seconds
        like = [refusal for refusal in recent if refusal.time >= since]
        # The refusal of one message may be among both, so they are not added up.
        messages = len({refusal.message for refusal in like if refusal.message})
        # Rows are read again after a failure, so that one may be here twice.
        notes = len({refusal.serial for refusal in like if not refusal.message})
        if messages < self._enough and notes < min(self._enough, NOTES):
            return
        text = said(last.text)
        about = CaseSubject(
            subject=last.subject,
            source=last.receiver,
            kind="receiver",
            operator=last.receiver,
            scope="address" if last.subject != "receiver" else "",
            reason=text,
            since=like[0].time,
            seen=last.time,
            count=max(messages, notes),
        )
        ours = named(last.subject) if len({refusal.subject for refusal in like}) == 1 else "our mail"
        times = (
            f"for {messages} messages" if messages >= self._enough else f"{notes} times, the mail going another way,"
        )
        yield Sighting(
            id=f"refusals-{last.serial}-{last.receiver}-{last.subject}"[:128],
            time=now,
            about=about,
            pool=self._ours.pool(last.subject),
            names=tuple(dict.fromkeys(name for refusal in like for name in refusal.names)),
            text=f"{last.receiver} refused {ours} {times} within {self._seconds / 60:.0f} minutes, "
            f"at last saying: {text}",
        )
