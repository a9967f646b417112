"""A message made safe to look at: its header, its texts, its HTML without life, the tree of its parts.

Held mail is hostile: it is written to deceive its reader and to attack the program that shows it. So nothing of it is
shown as it is but text, all work is bounded in time and memory, and nothing here raises, whatever the octets are. What
was cut, taken out or hidden is said.
"""

from __future__ import annotations

import binascii
import hashlib
import html

import msgspec

from outbound_guard.content import charset, mime, parse
from outbound_guard.content.attachment import inspect
from outbound_guard.content.body import MAX_TEXT_PARTS
from outbound_guard.content.defects import DEFECTS
from outbound_guard.content.message import LONG_HEADER
from outbound_guard.desk.reading.markup import SOURCE_LIMIT, Target, rewritten
from outbound_guard.desk.reading.visible import one_line, unseen, unseen_names, visible

TEXT_LIMIT = 200_000
"""Characters of text that are shown."""
MAX_FIELDS, FIELD_LIMIT = 300, 4_000
_CHUNK = 1 << 20
_OCTETS = 4 * SOURCE_LIMIT
"""Octets of an encoded text part that are decoded."""


class Field(msgspec.Struct, frozen=True):
    """One field of the header."""

    name: str
    """As it is written."""
    text: str
    """Unfolded, its encoded words decoded (RFC 2047), on one line, at most 4,000 characters."""
    raw: str
    """As it is written, folded, at most 4,000 characters; octets that are not UTF-8 as Latin-1."""


class Part(msgspec.Struct, frozen=True):
    """One part of the MIME tree (RFC 2045), in the order of the message."""

    number: str
    """`1`, `1.2`, ...: its place in the tree."""
    depth: int
    """0 is the message itself."""
    type: str
    name: str
    size: int
    """Octets, decoded; of a part that encloses others, as they stand."""
    encoding: str
    charset: str
    disposition: str
    """`attachment`, or empty."""
    sha256: str
    """Of the decoded octets; empty for a part that encloses others."""
    shown: bool
    """It is shown as text or HTML."""
    risks: tuple[str, ...] = ()
    """What is dangerous about its form, one sentence each."""


class Reading(msgspec.Struct, frozen=True):
    """A message as people may look at it. Every text is made visible (desk.reading.visible); `html` alone is markup."""

    size: int
    sha256: str
    fields: tuple[Field, ...]
    subject: str
    text: str
    """The text/plain parts; without any, what the reader of the HTML sees."""
    text_of_html: bool
    """`text` was taken from the HTML."""
    html: str
    """A safe fragment, for `frame`; empty if there is no HTML."""
    source: str
    """The HTML as it is written."""
    targets: tuple[Target, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    """What is odd about the message, what was taken out, hidden or cut: one sentence each."""


def read(content: bytes) -> Reading:
    """Read a message with CRLF line ends; never raises, and its work is bounded: at most some 10 ms a megabyte."""
    message = parse(content)
    defects: list[str] = []
    found = mime.entities(
        content,
        message.headers.end,
        message.headers.get("content-type"),
        message.headers.get("content-transfer-encoding") or "",
        message.headers.get("content-disposition") or "",
        defects,
    )
    shown = _Shown()
    for part in sorted(_texts(found), key=lambda part: part.attached):
        shown.take(content, part)
    parts = _parts(content, found, shown)
    notes = [DEFECTS.get(defect, defect) for defect in message.defects] + shown.notes
    notes += _of_letters("the subject", message.subject) + _of_letters("the text", "".join(shown.plain + shown.seen))
    if shown.cut:
        notes.append("it is too long to be shown whole: the download has all of it")
    return Reading(
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        fields=_fields(content, message.headers.end),
        subject=one_line(message.subject, 500),
        text=visible("\n".join(shown.plain or shown.seen), TEXT_LIMIT),
        text_of_html=not shown.plain and bool(shown.seen),
        html="".join(shown.html),
        source=visible("\n".join(shown.sources), SOURCE_LIMIT),
        targets=tuple(shown.targets),
        parts=parts,
        notes=tuple(dict.fromkeys(notes)),
    )


def _texts(found: list[mime.Part]) -> list[mime.Part]:
    return [part for part in found if part.type in ("text/plain", "text/html") and part.end > part.start]


class _Shown:
    """The texts of a message, as far as they are shown."""

    def __init__(self) -> None:
        self.plain: list[str] = []
        self.html: list[str] = []
        self.seen: list[str] = []
        self.sources: list[str] = []
        self.targets: list[Target] = []
        self.notes: list[str] = []
        self.cut = False
        self.parts: set[int] = set()
        self._left = TEXT_LIMIT
        self._left_html = SOURCE_LIMIT

    def take(self, content: bytes, part: mime.Part) -> None:
        """Show a text part, if there is room."""
        is_html = part.type == "text/html"
        left = self._left_html if is_html else self._left
        if left <= 0 or len(self.parts) >= MAX_TEXT_PARTS:
            self.cut = True
            return
        data = _decoded(content[part.start : min(part.end, part.start + _OCTETS)], part.encoding)
        text = charset.decode(data, part.charset, cut=True)[0]
        self.cut = self.cut or len(text) > left or part.end - part.start > _OCTETS
        text = text[:left]
        heading = f"attached as {one_line(part.name, 200)}" if part.attached or part.name else ""
        self.parts.add(id(part))
        if not is_html:
            self._left -= len(text)
            self.plain.append(f"[{heading}]\n{text}" if heading else text)
            return
        self._left_html -= len(text)
        markup = rewritten(text)
        self.sources.append(text)
        self.html.append(f'<div class="part">{html.escape(heading)}</div>' if heading else "")
        self.html.append(markup.html)
        self.seen.append(markup.text)
        self.targets += markup.targets
        self.notes += [f"HTML: {note}" for note in markup.notes]
        self.cut = self.cut or markup.cut


def _parts(content: bytes, found: list[mime.Part], shown: _Shown) -> tuple[Part, ...]:
    described, numbers = [], [0] * (mime.MAX_DEPTH + 3)
    for place, part in enumerate(found):
        numbers[part.depth] += 1
        numbers[part.depth + 1 :] = [0] * (len(numbers) - part.depth - 1)
        encloses = place + 1 < len(found) and found[place + 1].depth > part.depth
        risks: list[str] = []
        size, digest = part.end - part.start, ""
        if not encloses:
            size, digest = _digest(content, part)
            if id(part) not in shown.parts or part.attached:
                inspect(content, part, risks)
        described.append(
            Part(
                number=".".join(map(str, numbers[1 : part.depth + 1])) or "0",
                depth=part.depth,
                type=one_line(part.type, 100),
                name=one_line(part.name, 300),
                size=size,
                encoding=one_line(part.encoding, 40),
                charset=one_line(part.charset, 40),
                disposition="attachment" if part.attached else "",
                sha256=digest,
                shown=id(part) in shown.parts,
                risks=tuple(DEFECTS.get(risk, risk) for risk in dict.fromkeys(risks)),
            )
        )
    return tuple(described)


def _decoded(data: bytes, encoding: str) -> bytes:
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    return charset.base64(data)[0] if encoding == "base64" else data


def _digest(content: bytes, part: mime.Part) -> tuple[int, str]:
    """Octets and SHA-256 of a part, decoded piece by piece, so that 50 MB are not held twice."""
    digest, size = hashlib.sha256(), 0
    octets = memoryview(content)
    start, rest = part.start, b""
    while start < part.end:
        stop = min(part.end, start + _CHUNK)
        piece = rest + bytes(octets[start:stop])
        start, rest = stop, b""
        if part.encoding == "base64" and start < part.end:
            # Four letters are three octets: what is over waits for the next piece.
            piece = piece.translate(None, charset.NO_BASE64)
            over = len(piece) % 4
            piece, rest = (piece[:-over], piece[-over:]) if over else (piece, b"")
        elif part.encoding == "quoted-printable" and start < part.end:
            # A line ends where its last octet does.
            end = piece.rfind(b"\n") + 1
            piece, rest = (piece[:end], piece[end:]) if end else (piece, b"")
        decoded = _decoded(piece, part.encoding)
        digest.update(decoded)
        size += len(decoded)
    return size, digest.hexdigest()


def _fields(content: bytes, end: int) -> tuple[Field, ...]:
    head = content[: min(end, LONG_HEADER)]
    found: list[Field] = []
    kept: list[str] = []
    for line in [*_utf8(head).split("\r\n"), ""]:
        if line[:1] in (" ", "\t") and kept:
            kept.append(line)
            continue
        if kept:
            found.append(_field("\r\n".join(kept)))
            if len(found) >= MAX_FIELDS:
                break
        kept = [line] if line else []
    return tuple(found)


def _field(raw: str) -> Field:
    name, colon, value = raw.partition(":")
    if not colon:
        name, value = "", raw
    text = charset.header_text(value.replace("\r\n", ""), FIELD_LIMIT)[0]
    return Field(one_line(name.strip(), 200), one_line(text, FIELD_LIMIT), visible(value.strip(" "), FIELD_LIMIT))


def _utf8(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _of_letters(what: str, text: str) -> list[str]:
    number = unseen(text)
    return [f"{what} holds {number} characters that are not seen ({', '.join(unseen_names(text))})"] if number else []
