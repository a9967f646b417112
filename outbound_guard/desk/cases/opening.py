"""From what was seen to cases: a listing or refusal opens one, joins one, or opens a closed one again. Pure.

What has the same reason is one case, since it is worked through once: the same address; the same operator with listings
in one range, or with the same codes for one pool; refusals by the same receiver.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import Sequence

import msgspec

from outbound_guard.desk.cases.stages import DAY, NAMES, cleared_from, entering, reopening
from outbound_guard.ledger.case_queries import Case
from outbound_guard.ledger.records import CaseCheck, CaseEvent, CaseSubject

LISTED, CLEAN = "listed", "clean"
MERGED = "merged"
"""The kind of a case that was found to be part of another one: it takes in nothing any more."""

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_AGAIN = 3600.0
"""Seconds after which the history says once more that a receiver still refuses us."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A list or receiver has something against an address or domain of ours."""

    id: str
    """Made from the fact, so that the same fact met twice is one."""
    time: float
    about: CaseSubject
    pool: str = ""
    """The pool that the address belongs to, if it is one of a pool."""
    names: tuple[str, ...] = ()
    """Lists that a refusal names."""
    by: str = "system"
    text: str = ""
    """What was seen, as a sentence."""


def home(cases: Sequence[Case], sighting: Sighting, reopen_days: int) -> Case | None:
    """The case that a sighting belongs to: an open one, or one closed not longer ago than `reopen_days`."""
    oldest = sighting.time - reopen_days * DAY
    known = [case for case in cases if case.state == "open" or case.closed >= oldest]
    # Open ones before closed ones; the address itself before what is merely like it; the newest first.
    known.sort(key=lambda case: (case.state == "open", _same(case, sighting), case.opened), reverse=True)
    return next((case for case in known if related(case, sighting)), None)


def related(case: Case, sighting: Sighting) -> bool:
    """True if the sighting belongs to this case, were it open."""
    if case.kind == MERGED:
        return False
    return any(
        known.source in sighting.names or _alike(known, sighting.about, case.pool, sighting.pool)
        for known in case.subjects
    )


def seen(case: Case | None, sighting: Sighting) -> CaseEvent | None:
    """The event that a sighting is for its case (`home`); None if it says nothing new."""
    if case is None:
        return _opened(sighting)
    sighting = msgspec.structs.replace(sighting, time=case.not_before(sighting.time))
    about = sighting.about
    if case.state == "closed":
        # Refusals from before its end are no news.
        return None if about.kind == "receiver" and about.since <= case.closed else _reopened(case, sighting)
    known = next((s for s in case.subjects if (s.subject, s.source) == (about.subject, about.source)), None)
    if known is not None and known.state == LISTED:
        again = about.kind == "receiver" and about.seen - known.seen >= _AGAIN
        if not again and (about.kind == "receiver" or (known.codes, known.reason) == (about.codes, about.reason)):
            return None
        newer = msgspec.structs.replace(about, since=min(known.since, about.since) or about.since)
        return _event(case.id, sighting, "seen", subjects=(newer,))
    fields: dict[str, object] = {"removed": 0.0}
    checks: dict[str, CaseCheck] = {item: CaseCheck() for item in ("lists", "scope") if item in case.checks}
    if NAMES.index(case.stage) >= NAMES.index("appeal"):
        # This one has to be asked too; what was found of the cause stands.
        checks |= cleared_from(case, "appeal")
        fields |= entering("appeal", sighting.time)
    return _event(case.id, sighting, "seen", fields=fields, subjects=(about,), checks=checks)


def cleared(case: Case, subject: str, source: str, now: float, id_: str) -> CaseEvent | None:
    """The event that a list or receiver has nothing more against a subject; None if that was known."""
    known = next((s for s in case.subjects if (s.subject, s.source) == (subject, source)), None)
    if known is None or known.state != LISTED:
        return None
    now = case.not_before(now)
    subjects = tuple(
        msgspec.structs.replace(s, state=CLEAN, clean_since=now) if s is known else s for s in case.subjects
    )
    gone = not any(s.state == LISTED for s in subjects)
    says = "refuses nothing any more" if known.kind == "receiver" else f"lists {subject} no more"
    text = f"{source} {says}" + (", and nobody else does" if gone else "")
    return CaseEvent(
        id=id_,
        case=case.id,
        time=now,
        what="cleared",
        text=text,
        fields={"removed": now} if gone else {},
        subjects=tuple(s for s in subjects if (s.subject, s.source) == (subject, source)),
    )


def range_of(subject: str) -> str:
    """The range that an address is in (IPv4 /24, IPv6 /64); of a domain or network, itself."""
    try:
        address = ipaddress.ip_address(subject)
    except ValueError:
        return subject
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False))


def covers(subject: str, other: str) -> bool:
    """True if they are the same address, network or domain, or the first is a network that the other lies in."""
    if subject == other or "/" not in subject:
        return subject == other
    try:
        inner, outer = ipaddress.ip_network(other), ipaddress.ip_network(subject)
    except ValueError:
        return False
    if isinstance(inner, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)


def _same(case: Case, sighting: Sighting) -> bool:
    return any(known.subject == sighting.about.subject for known in case.subjects)


def _alike(known: CaseSubject, new: CaseSubject, known_pool: str, new_pool: str) -> bool:
    if known.kind == new.kind == "receiver" and known.source == new.source:
        return known_pool == new_pool or not (known_pool and new_pool)
    if "receiver" in (known.subject, new.subject):
        return False  # Of refusals that name no address of ours it is known only who refuses.
    if covers(known.subject, new.subject) or covers(new.subject, known.subject):
        return True
    if known.operator != new.operator or not new.operator:
        return False
    if range_of(known.subject) == range_of(new.subject):
        return True
    return bool(new.codes) and known.codes == new.codes and bool(new_pool) and known_pool == new_pool


def _opened(sighting: Sighting) -> CaseEvent:
    about, now = sighting.about, sighting.time
    fields = {
        "state": "open",
        "kind": "refusals" if about.kind == "receiver" else "listing",
        "title": title(about),
        "operator": about.operator,
        "pool": sighting.pool,
        "began": about.since or now,
        "opened": now,
        "round_since": now,
    } | entering("verify", now)
    return _event(_case_id(sighting), sighting, "opened", fields=fields, subjects=(about,))


def _reopened(case: Case, sighting: Sighting) -> CaseEvent:
    fields = reopening(case, sighting.time) | {"removed": 0.0}
    checks = {item: CaseCheck() for item in case.checks}
    return _event(case.id, sighting, "reopened", fields=fields, subjects=(sighting.about,), checks=checks)


def title(about: CaseSubject) -> str:
    """What a case is called that begins with this."""
    if about.kind == "receiver":
        return f"{about.source} refuses {named(about.subject)}"
    return f"{about.subject} on {about.source}" if about.source else about.subject


def named(subject: str) -> str:
    """An address or domain as people read it."""
    return "our mail" if subject == "receiver" else subject


def told_state(kind: str, state: str) -> str:
    """The state of a subject as people read it: a receiver lists nothing."""
    return state if kind != "receiver" else "refused" if state == LISTED else "accepted"


def _event(
    case: str,
    sighting: Sighting,
    what: str,
    *,
    subjects: tuple[CaseSubject, ...],
    fields: dict[str, object] | None = None,
    checks: dict[str, CaseCheck] | None = None,
) -> CaseEvent:
    return CaseEvent(
        id=sighting.id,
        case=case,
        time=sighting.time,
        what=what,
        by=sighting.by,
        text=sighting.text,
        fields=fields or {},
        subjects=subjects,
        checks=checks or {},
    )


def _case_id(sighting: Sighting) -> str:
    """Day and four letters made from the fact, so that opening it twice opens one case: 20261122-4f7k."""
    seal = hashlib.sha256(f"{sighting.id} {sighting.about.subject}".encode()).digest()
    day = time.strftime("%Y%m%d", time.gmtime(sighting.time))
    return day + "-" + "".join(_BASE32[octet & 31] for octet in seal[:4])
