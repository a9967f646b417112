"""The texts of letters, in several languages, from the files in `texts/`."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from outbound_guard.config.notices import ABUSE
from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.ledger.outbox_records import KINDS
from outbound_guard.notify.routes import plain

_FOLDER = Path(__file__).parent / "texts"


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language. `{NAME}` stands for what a letter fills in."""

    subject_one: str
    subject_many: str
    greeting: str
    customer: str
    desk: str
    times: str
    until: str
    reason: str
    steps: str
    link: str
    reach: str
    machine: str
    short: dict[str, str]
    """By kind, for the subject."""
    long: dict[str, str]
    """By kind, one sentence."""
    todo: tuple[str, ...]
    """What a customer can do."""


@functools.cache
def texts(language: str) -> Texts:
    """The texts of a language. Raises OSError, msgspec.ValidationError: a mistake of ours."""
    return msgspec.toml.decode((_FOLDER / f"{language}.toml").read_bytes(), type=Texts)


def sentence(of: Texts, notice: Told, *, details: bool) -> str:
    """What has happened, with its time, as one line."""
    whose = plain(notice.sender or notice.account or notice.subject)
    zone = plain(str(notice.data.get("zone", "")))
    told = of.long[notice.kind].format(
        who=whose, account=plain(notice.account), subject=plain(notice.subject), zone=zone
    )
    parts = [f"{when(notice.time)}: {told}"]
    if notice.count > 1:
        parts.append(of.times.format(count=notice.count, last=when(notice.last)))
    until = float(notice.data.get("until") or 0.0)
    if until and notice.kind in ("suspended", "held"):
        parts.append(of.until.format(until=when(until)))
    if details and notice.reason:
        parts.append(of.reason.format(reason=plain(notice.reason)))
    return " ".join(parts)


def subject(of: Texts, notices: tuple[Told, ...]) -> str:
    """The subject of a letter about these."""
    gravest = min(notices, key=weight)
    whose = plain(gravest.account or notices[0].account or gravest.subject, 80)
    if len({notice.account for notice in notices}) > 1:
        whose += " …"
    first = of.short[gravest.kind]
    if len(notices) == 1:
        return of.subject_one.format(what=first, whose=plain(notices[0].sender or whose, 80)).strip(" :–-")
    return of.subject_many.format(count=len(notices), whose=whose, what=first).strip(" :–-")


def weight(notice: Told) -> int:
    """By how much others are graver: the kinds stand in the order of their weight."""
    return list(KINDS).index(notice.kind)


def wants_steps(notices: tuple[Told, ...]) -> bool:
    """True if a customer can do something about it."""
    return any(notice.kind in ABUSE for notice in notices)


def when(time: float) -> str:
    """A time (unix seconds) that reads the same in every language."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")
