"""The parts of a report, taken out of its MIME structure: bounded in work, whatever somebody has put into it."""

from __future__ import annotations

import binascii
import re

import msgspec

from outbound_guard.content import charset, mime
from outbound_guard.feedback.report import Original
from outbound_guard.mail import Headers

HEADER = 262_144
"""Octets of the report's own header section that are read."""
PART = 262_144
"""Octets of one part."""
TEXTS = 20
"""Parts of text."""
DEEPEST = 4
"""A report that somebody forwards, or a mailing list carries, is nested. What lies deeper is what it is about."""
_FOUND = 20
"""Candidates of a kind; a message of ours carries one."""

_TOKEN = re.compile(r"(?<![0-9A-Za-z])[0-9A-Za-z]{16}-[0-9A-Fa-f]{12}(?![0-9A-Za-z-])")
_OUR_ID = re.compile(r"\(Outbound Guard\)\s+with\s+\S{1,20}\s+id\s+([0-9a-z]{16})(?![0-9a-z])")
_MESSAGE_ID = re.compile(r"^[> \t]{0,40}message-id[ \t]{0,10}:\s{0,10}<([^<>\s\0]{1,995})>", re.I | re.M)
_REPORTS = ("message/feedback-report", "message/delivery-status", "message/global-delivery-status")
_HEADERS = ("text/rfc822-headers", "message/global-headers", "message/rfc822-headers")
_MESSAGES = ("message/rfc822", "message/global")


class Parts(msgspec.Struct, frozen=True):
    """What a report consists of."""

    headers: Headers
    report: tuple[str, str]
    """Type and text of the part made for machines; empty if there is none."""
    text: str
    """What people are to read, without the message it is about."""
    original: Original
    enclosed: bool
    """A message, or its header section, is enclosed."""
    defects: tuple[str, ...]


def parts_of(content: bytes) -> Parts:
    """Take a report apart; `content` may have any line ends. Never raises for what is in it."""
    if b"\n" not in content:
        content = content.replace(b"\r", b"\r\n")
    elif content.count(b"\n") != content.count(b"\r\n"):
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    headers = Headers(content[:HEADER])
    defects: list[str] = []
    found = mime.entities(
        content,
        headers.end,
        headers.get("content-type"),
        headers.get("content-transfer-encoding") or "",
        headers.get("content-disposition") or "",
        defects,
    )
    machine = min((part for part in found if part.type in _REPORTS), key=lambda part: part.depth, default=None)
    if machine is not None and machine.depth > DEEPEST:
        machine = None
    behind = machine.end if machine else headers.end
    enclosing = next(
        (part for part in found if part.type in (*_MESSAGES, *_HEADERS) and part.start >= behind),
        None,
    )
    shown = [part for part in found if part.type in ("text/plain", "text/html") and part.start < part.end]
    outside = [part for part in shown if enclosing is None or not enclosing.start <= part.start < enclosing.end]
    text = "\n".join(_text(content, part) for part in outside[:TEXTS])
    if enclosing is not None:
        head = _octets(content, enclosing) if enclosing.type in _HEADERS or enclosing.encoding == "base64" else b""
        head = head or content[enclosing.start : min(enclosing.end, enclosing.start + PART)]
        original = _original(_unfolded(head), only_head=True)
        if not original.tokens and not original.ids:
            # Some put what they return into yet another envelope.
            original = _merged(original, _original("\n".join(_text(content, part) for part in shown[:TEXTS])))
    else:
        original = _original(text)
    return Parts(
        headers,
        (machine.type, charset.decode(_octets(content, machine), machine.charset)[0]) if machine else ("", ""),
        text,
        original,
        enclosing is not None,
        tuple(defects),
    )


def fields_of(text: str) -> list[dict[str, list[str]]]:
    """Blocks of header fields, divided by empty lines (RFC 3464 2.1): for each block its values by name."""
    blocks: list[dict[str, list[str]]] = []
    for block in re.split(r"\r?\n[ \t]*\r?\n", text.strip())[:200]:
        fields: dict[str, list[str]] = {}
        for line in re.sub(r"\r?\n[ \t]+", " ", block).splitlines()[:200]:
            name, colon, value = line.partition(":")
            if colon and value.strip():
                fields.setdefault(name.strip().lower(), []).append(value.strip())
        if fields:
            blocks.append(fields)
    return blocks


def _original(text: str, *, only_head: bool = False) -> Original:
    if only_head:
        # What the enclosed message says further down is its author's, who may quote the marks of others.
        text = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    tokens = [found[0] for _, found in zip(range(_FOUND), _TOKEN.finditer(text), strict=False)]
    ids = [found[1] for _, found in zip(range(_FOUND), _OUR_ID.finditer(text), strict=False)]
    named = [found[1] for _, found in zip(range(_FOUND), _MESSAGE_ID.finditer(text), strict=False)]
    return Original(_once(tokens), _once(ids), _once(named))


def _merged(one: Original, other: Original) -> Original:
    return Original(
        _once([*one.tokens, *other.tokens]),
        _once([*one.ids, *other.ids]),
        _once([*one.message_ids, *other.message_ids]),
    )


def _once(words: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _unfolded(octets: bytes) -> str:
    text = octets.decode("utf-8", "replace")
    return re.sub(r"\r?\n[ \t]+", " ", text)


def _octets(content: bytes, part: mime.Part) -> bytes:
    data = content[part.start : min(part.end, part.start + PART)]
    if part.encoding == "base64":
        return charset.base64(data, cut=True)[0]
    return binascii.a2b_qp(data) if part.encoding == "quoted-printable" else data


def _text(content: bytes, part: mime.Part) -> str:
    return charset.decode(_octets(content, part), part.charset, cut=True)[0]
