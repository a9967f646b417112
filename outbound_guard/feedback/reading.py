"""Octets become a Report: complaints (RFC 5965, or forwarded by hand) and bounces (RFC 3464, or plain text).

Nothing here believes anything: who is meant, and whether it counts, is decided in attributing.py.
"""

from __future__ import annotations

import hashlib

import msgspec

from outbound_guard.feedback import plain
from outbound_guard.feedback.parts import Parts, fields_of, parts_of
from outbound_guard.feedback.report import LONGEST, TYPES, Fate, Report, address, reply_in
from outbound_guard.reply import Reply

_SPOILT = ("too_many_parts", "deep_nesting", "bad_boundary", "no_boundary")
_EXAMINED = 1_048_576
"""Octets. What a report says stands at its beginning, then comes the message it is about, whose header is wanted. A
thread that works on more than this in one go would keep the others of its process waiting."""
_FATES = 1000
"""Recipients of one report that are looked at; our own messages have no more (limits.recipients)."""
_RECIPIENTS = 20
_ACTIONS = {"failed": "5", "delayed": "4", "delivered": "2", "relayed": "2", "expanded": "2"}


def read(content: bytes, mail_from: str | None = None, most: int = 52_428_800) -> Report:
    """What a message reports. `mail_from` is the envelope's sender where it is known; `most`: octets that are read.

    Never raises for what is in it; the work is bounded: of a large report the beginning is read.
    """
    digest = _digest(content)
    if len(content) > most or not content.strip():
        return Report("unreadable", digest=digest)
    parts = parts_of(content[:_EXAMINED])
    report = _read(parts, mail_from)
    if report.kind == "other" and any(defect in _SPOILT for defect in parts.defects):
        return Report("unreadable", digest=digest)
    fields: dict[str, object] = {"digest": digest, "original": parts.original}
    if not report.reporter:
        fields["reporter"] = address(parts.headers.get("from") or "")
    return msgspec.structs.replace(report, **fields)


def _digest(content: bytes) -> str:
    """The same for the same report, whatever line ends it was kept with."""
    content = content.strip()
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(content), _EXAMINED):
        digest.update(content[start : start + _EXAMINED].replace(b"\r", b""))
    return digest.hexdigest()


def _read(parts: Parts, mail_from: str | None) -> Report:
    kind, text = parts.report
    if kind == "message/feedback-report":
        return _complaint(text)
    if kind:
        return _bounce(text, parts)
    headers = parts.headers
    if plain.is_bounce(headers, mail_from, parts.text):
        # Some write the fields of RFC 3464 among the words for people.
        fates = tuple(_fates(fields_of(parts.text))[0]) or plain.fates_in(parts.text, headers)
        return Report("bounce", "text", fates=fates) if fates else Report("other")
    if plain.from_robot(headers, mail_from) or (headers.get("auto-submitted") or "no").strip().lower() != "no":
        # An answering machine: it quotes, and complains of nothing.
        return Report("other")
    if parts.original.tokens or parts.original.ids or (parts.enclosed and parts.original.message_ids):
        # Somebody has forwarded a message to where complaints go: that is one.
        return Report("complaint", "forwarded", "abuse")
    return Report("other")


def _complaint(text: str) -> Report:
    """RFC 5965 3.1: fields as in a header section; unknown ones are ignored."""
    blocks = fields_of(text)
    fields: dict[str, list[str]] = {}
    for block in blocks[:10]:
        for name, values in block.items():
            fields.setdefault(name, []).extend(values)
    said = _first(fields, "feedback-type").lower().split(";")[0].strip()
    if not said:
        return Report("unreadable")
    recipients = [found for value in fields.get("original-rcpt-to", ())[:_RECIPIENTS] if (found := address(value))]
    agent = _first(fields, "user-agent") or _first(fields, "reporting-mta")
    # RFC 5965 7.3: a type that is not known means the same as `other`.
    type_ = said if said in TYPES else "other"
    return Report("complaint", "arf", type_, recipients=tuple(recipients), reporter=agent[:200])


def _bounce(text: str, parts: Parts) -> Report:
    """RFC 3464 2: a block about the message, then one for each recipient."""
    fates, reporter = _fates(fields_of(text))
    if not fates:
        # Some write the words for people alone.
        fates = list(plain.fates_in(parts.text, parts.headers))
    return Report("bounce", "dsn", fates=tuple(fates), reporter=reporter[:200]) if fates else Report("unreadable")


def _fates(blocks: list[dict[str, list[str]]]) -> tuple[list[Fate], str]:
    """What the blocks say of recipients, and who reports."""
    fates: list[Fate] = []
    reporter = ""
    for block in blocks:
        reporter = reporter or address_or_host(_first(block, "reporting-mta"))
        final, original = address(_first(block, "final-recipient")), address(_first(block, "original-recipient"))
        if not (final or original) or len(fates) >= _FATES:
            continue
        fate = _fate_of(block, final or original, original)
        if fate is not None:
            fates.append(fate)
    return fates, reporter


def _fate_of(block: dict[str, list[str]], recipient: str, also: str) -> Fate | None:
    action = _first(block, "action").lower().split()[:1]
    status = _first(block, "status")
    class_ = _ACTIONS.get(action[0] if action else "", "")
    kind, semicolon, words = _first(block, "diagnostic-code").partition(";")
    diagnostic = (words if semicolon else kind).strip()
    reply = reply_in(diagnostic, status) or (reply_in(diagnostic) if diagnostic else None)
    if reply is None:
        if not class_:
            return None
        reply = Reply({"2": 250, "4": 450, "5": 550}[class_], "", diagnostic[:LONGEST])
    # RFC 3464 2.3.3: `failed` is final even where the last answer was a temporary one.
    final = class_ != "4" if class_ else not reply.temporary
    if class_ == "2" and not reply.accepted:
        reply = Reply(250, "", diagnostic[:LONGEST])
    return Fate(recipient, reply, final, also, address_or_host(_first(block, "remote-mta")))


def address_or_host(value: str) -> str:
    """What stands behind `dns;`."""
    kind, semicolon, name = value.partition(";")
    return (name if semicolon else kind).strip()[:255]


def _first(fields: dict[str, list[str]], name: str) -> str:
    values = fields.get(name)
    return values[0] if values else ""
