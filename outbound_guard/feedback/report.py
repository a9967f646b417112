"""What a report says, whoever wrote it: a complaint, or what became of a message at some of its recipients."""

from __future__ import annotations

import re

import msgspec

from outbound_guard.reply import Reply, parse

COMPLAINTS = ("abuse", "fraud", "virus")
"""Feedback types (RFC 5965 7.3) that speak against the sender. The others are known as well: `not-spam` takes one back,
`opt-out` asks to be left alone, `auth-failure` (RFC 6591) and `dmarc` are about signatures, `other` about anything."""
TYPES = (*COMPLAINTS, "not-spam", "auth-failure", "dmarc", "opt-out", "opt-out-list", "other")
LONGEST = 1000
"""Characters of a text that are kept."""

_SAID = re.compile(r"(?<![\d.])([245]\d\d)(?:[- ]#?|(?=$))(?:([245]\.\d{1,3}\.\d{1,3})(?![\d.]))?[- :]*(.*)", re.DOTALL)
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_ADDRESS = re.compile(r"[^\s\0<>()\[\],;:\"]{1,64}@[^\s\0<>()\[\],;:\"']{1,255}")


class Original(msgspec.Struct, frozen=True):
    """What a report shows of the message it is about, as far as it can lead to it."""

    tokens: tuple[str, ...] = ()
    """Words that may be tokens of ours (accounts.token)."""
    ids: tuple[str, ...] = ()
    """Our ids in Received fields; anybody can write such a field."""
    message_ids: tuple[str, ...] = ()
    """Without angle brackets."""


class Fate(msgspec.Struct, frozen=True):
    """What became of a message at one recipient."""

    recipient: str
    reply: Reply
    final: bool = True
    """False if it is tried again."""
    also: str = ""
    """Another address of the same recipient (RFC 3464 2.3.1: the one we wrote to, where it was forwarded)."""
    peer: str = ""
    """Who said it."""


class Report(msgspec.Struct, frozen=True):
    """A report, read."""

    kind: str
    """complaint | bounce | other (no report) | unreadable"""
    form: str = ""
    """arf | dsn | text | forwarded"""
    type: str = ""
    """Of a complaint: one of TYPES."""
    original: Original = Original()
    fates: tuple[Fate, ...] = ()
    """Of a bounce."""
    recipients: tuple[str, ...] = ()
    """Of a complaint: who complains, as far as it says so."""
    reporter: str = ""
    """Who has made it, by its own words."""
    digest: str = ""
    """The same for the same report."""


def address(text: str) -> str:
    """The address in a field such as `rfc822; <anna@a.example>`; empty if there is none."""
    _, semicolon, rest = text.partition(";")
    found = _ADDRESS.search((rest if semicolon else text)[:1000])
    return found[0].strip(".'") if found else ""


def addresses(text: str) -> list[str]:
    """Every address in a text, in order."""
    return [found[0].strip(".'") for found in _ADDRESS.finditer(text)]


def reply_in(text: str, status: str = "") -> Reply | None:
    """The SMTP reply that a text quotes, or the one that a `status` (RFC 3463) amounts to; None without either.

    A reply of another class than the status is not the one that was meant.
    """
    text = " ".join(text[: 4 * LONGEST].split())
    wanted = _STATUS.search(status)
    at = 0
    for _ in range(20):
        said = _SAID.search(text, at)
        if said is None:
            break
        if (wanted is None or said[1][0] == wanted[1]) and (said[2] is None or said[2][0] == said[1][0]):
            reply = parse(int(said[1]), f"{said[2]} {said[3]}" if said[2] else said[3])
            enhanced = reply.enhanced or (wanted[0] if wanted else "")
            return Reply(reply.code, enhanced, reply.text[:LONGEST])
        at = said.end(1)
    found = wanted or _STATUS.search(text)
    if found is None:
        return None
    return Reply({"2": 250, "4": 450, "5": 550}[found[1]], found[0], text[:LONGEST])
