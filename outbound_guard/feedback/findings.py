"""From a report and the message it is about to records of the journal: what is said of whom, and whether it counts."""

from __future__ import annotations

import hashlib

from outbound_guard.delivery.answers import meaning_of
from outbound_guard.delivery.classes import outcome_of
from outbound_guard.feedback.attributing import Attribution, recipient_of
from outbound_guard.feedback.report import COMPLAINTS, LONGEST, Fate, Report
from outbound_guard.ledger.feedback_queries import Message
from outbound_guard.ledger.records import Feedback, Suppression
from outbound_guard.mail import same_address

_UNKNOWN = 20
"""Recipients of a bounce that are recorded where it is about no message that is known."""


def findings(
    report: Report, attribution: Attribution, now: float, source: str, *, trusted: bool
) -> tuple[Feedback, ...]:
    """What the report amounts to, one record for each recipient. `trusted`: its source is believed without a seal."""
    counts = attribution.message is not None and (attribution.proof == "seal" or trusted)
    if report.kind == "complaint":
        return _complaint(report, attribution, now, source, counts)
    return _bounce(report, attribution, now, source, counts)


def suppressions(found: tuple[Feedback, ...]) -> list[Suppression]:
    """Who is not to be written to any more because of that: complained, or does not exist."""
    return [
        Suppression(
            one.time,
            one.account,
            same_address(one.recipient),
            "added",
            why=why,
            message=one.message,
            detail=one.detail,
        )
        for one in found
        if one.counts and one.recipient and (why := _why(one))
    ]


def result(
    message: Message, recipient: str, fate: Fate, now: float, source: str, kind: str, proof: str, *, counts: bool
) -> Feedback:
    """What became of a message at one of its recipients."""
    reply = fate.reply
    outcome = outcome_of(reply)
    said = "delivered" if reply.accepted else meaning_of(reply).class_
    # The same fact from a bounce, a log and a webhook is one. What nobody has proven must not stand in for it.
    digit = "5" if fate.final and not reply.accepted else str(reply.code // 100)
    return Feedback(
        key=_key("result", message.id, recipient.lower(), digit, str(counts)),
        time=now,
        kind=kind,
        class_=said,
        outcome=outcome,
        account=message.account,
        sender=message.sender,
        sender_kind=message.sender_kind,
        recipient=recipient,
        message=message.id,
        source=source,
        proof=proof,
        counts=counts,
        code=reply.code,
        enhanced=reply.enhanced[:16],
        detail=reply.text[:LONGEST],
        peer=fate.peer[:255],
        final=fate.final,
        text=message.text,
    )


def _complaint(report: Report, attribution: Attribution, now: float, source: str, counts: bool) -> tuple[Feedback, ...]:
    message = attribution.message
    against = report.type in COMPLAINTS
    detail = f"{report.form} by {report.reporter}" if report.reporter else report.form
    if message is None:
        key = _key("complaint", report.digest)
        return (Feedback(key, now, "complaint", report.type, source=source, detail=detail[:LONGEST]),)
    # Of several recipients none may be named: then all complaints about the message together are one.
    recipient = recipient_of(message, *report.recipients)
    # A complaint that is taken back does not stand in for one.
    kind = "complaint" if against else f"complaint {report.type}"
    return (
        Feedback(
            key=_key(kind, message.id, recipient.lower(), str(counts)),
            time=now,
            kind="complaint",
            class_=report.type,
            outcome="complaint" if against else "",
            account=message.account,
            sender=message.sender,
            sender_kind=message.sender_kind,
            recipient=recipient,
            message=message.id,
            source=source,
            proof=attribution.proof,
            counts=counts,
            detail=detail[:LONGEST],
            text=message.text,
        ),
    )


def _bounce(report: Report, attribution: Attribution, now: float, source: str, counts: bool) -> tuple[Feedback, ...]:
    message, found = attribution.message, []
    for fate in report.fates if message is not None else report.fates[:_UNKNOWN]:
        if message is None:
            found.append(_unattributed(report, fate, now, source))
            continue
        recipient = recipient_of(message, fate.also, fate.recipient)
        if recipient:
            found.append(result(message, recipient, fate, now, source, "bounce", attribution.proof, counts=counts))
    return tuple({one.key: one for one in found}.values())


def _unattributed(report: Report, fate: Fate, now: float, source: str) -> Feedback:
    reply = fate.reply
    return Feedback(
        _key("bounce", report.digest, fate.recipient.lower()),
        now,
        "bounce",
        "delivered" if reply.accepted else meaning_of(reply).class_,
        recipient=fate.recipient,
        source=source,
        code=reply.code,
        enhanced=reply.enhanced[:16],
        detail=reply.text[:LONGEST],
        peer=fate.peer[:255],
        final=fate.final,
    )


def _why(one: Feedback) -> str:
    if one.kind == "complaint":
        return "complaint" if one.outcome == "complaint" or one.class_.startswith("opt-out") else ""
    return "unknown_user" if one.final and one.code >= 500 and one.outcome == "unknown_user" else ""


def _key(*words: str) -> str:
    return hashlib.blake2b("\0".join(words).encode("utf-8", "replace"), digest_size=16).hexdigest()
