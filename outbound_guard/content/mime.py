"""The MIME tree of a message in one bounded scan (RFC 2045, 2046): which octets are which part."""

from __future__ import annotations

import functools
import re
from urllib.parse import unquote_to_bytes

from outbound_guard.content import charset
from outbound_guard.mail import LARGE

MAX_DEPTH = 9
"""Parts nested deeper are not looked into; a forwarded report with pictures has five levels."""
MAX_PARTS = 60
MAX_PART_HEADER = 8192
"""Octets of a part's header that are read."""
MAX_DELIMITERS = 500
"""Lines looked at in one multipart that begin like a delimiter."""
MAX_ENTITIES = 200
"""Entities that `entities` gives, those that enclose others included."""

# `name=value` or `name="value"` after a semicolon; also the forms of RFC 2231.
_PARAMETER = re.compile(r';\s*([!#$&+.^`{|}~\w*%\'-]{1,60})\s*=\s*(?:"((?:[^"\\]|\\.){0,1000})"?|([^\s;"]{0,1000}))')
_QUOTED = re.compile(r"\\(.)")


class Part:
    """One leaf of the tree: its type, and where its octets lie in the message."""

    __slots__ = ("attached", "charset", "depth", "encoding", "end", "in_report", "name", "start", "type")

    def __init__(self, kind: str, label: str, encoding: str, name: str, attached: bool) -> None:
        self.type = kind
        self.charset = label
        self.encoding = encoding
        self.name = name
        self.attached = attached
        """True if Content-Disposition says `attachment`."""
        self.start = self.end = self.depth = 0
        self.in_report = False
        """Belongs to the message that a delivery report or a complaint encloses."""


def _parameters(value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    pieces: dict[str, list[str]] = {}
    for match in _PARAMETER.finditer(value):
        name = match[1].lower()
        text = match[3] if match[2] is None else match[2]
        if "\\" in text and match[2] is not None:
            text = _QUOTED.sub(r"\1", text)
        if "*" in name:
            base = name.partition("*")[0]
            pieces.setdefault(base, []).append(_extended(text) if name.endswith("*") else text)
        else:
            found.setdefault(name, text)
    for name, texts in pieces.items():
        found.setdefault(name, "".join(texts[:20]))
    return found


def _extended(text: str) -> str:
    # RFC 2231 4: charset'language'percent-encoded; continuations have no charset, UTF-8 is a fair guess.
    label, _, rest = text.partition("'")
    if "'" in rest:
        return charset.decode(unquote_to_bytes(rest.partition("'")[2]), label)[0]
    return charset.decode(unquote_to_bytes(text), "")[0]


def content_type(value: str | None) -> tuple[str, dict[str, str]]:
    """A Content-Type value as (type in lower case, parameters); text/plain if unreadable (RFC 2045 5.2)."""
    if not value:
        return "text/plain", {}
    kind, semicolon, _ = value.partition(";")
    kind = kind.strip(" \t\"'").lower()
    if kind.count("/") != 1 or len(kind) > 100:
        kind = "text/plain"
    return kind, _parameters(value[:4000]) if semicolon else {}


@functools.lru_cache(1024)
def _leaf(kind_value: str | None, encoding: str, disposition: str) -> tuple[str, str, str, str, bool]:
    kind, parameters = content_type(kind_value)
    name = parameters.get("name", "")
    attached = False
    if disposition:
        attached = disposition[:20].lstrip().lower().startswith("attachment")
        if ";" in disposition:
            name = _parameters(disposition[:4000]).get("filename", name)
    if "=?" in name:  # Against RFC 2047 5, but most mailers write and read it.
        name = charset.header_text(name, 300)[0]
    return kind, parameters.get("charset", "").lower(), encoding.strip().lower(), name[:300], attached


def _part_fields(content: bytes, start: int, stop: int) -> tuple[int, str | None, str, str]:
    """Where the body of the part begins, and its Content-Type, -Transfer-Encoding and -Disposition."""
    if content.startswith(b"\r\n", start):
        return start + 2, None, "", ""
    end = content.find(b"\r\n\r\n", start, min(stop, start + MAX_PART_HEADER) + 4)
    if end < 0:
        end = min(stop, start + MAX_PART_HEADER)
        body = stop if end == stop else end
    else:
        body = min(end + 4, stop)
    head = content[start:end]
    if b"\r\n " in head or b"\r\n\t" in head:
        head = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")
    text = head.decode("utf-8", "replace")
    kind: str | None = None
    encoding = disposition = ""
    for line in text.split("\r\n", 50):
        if line[:8].lower() == "content-":
            name, _, value = line.partition(":")
            name = name.rstrip().lower()
            if name == "content-type":
                kind = value
            elif name == "content-transfer-encoding":
                encoding = value
            elif name == "content-disposition":
                disposition = value
    return body, kind, encoding, disposition


def walk(
    content: bytes, start: int, kind: str | None, encoding: str, disposition: str, defects: list[str]
) -> list[Part]:
    """The leaves of the tree whose body begins at `start`, in order; what is wrong is added to `defects`.

    Work is bounded by `MAX_DEPTH` passes over the octets and `MAX_PARTS` parts, whatever the message says.
    """
    tree = _Tree(content, defects)
    tree.entity(start, len(content), (kind, encoding, disposition), 0, False, False)
    return tree.leaves


def entities(
    content: bytes, start: int, kind: str | None, encoding: str, disposition: str, defects: list[str]
) -> list[Part]:
    """Like `walk`, with the parts that enclose others, each before what it encloses (`Part.depth` says in what)."""
    tree = _Tree(content, defects)
    tree.found = []
    tree.entity(start, len(content), (kind, encoding, disposition), 0, False, False)
    return tree.found


def _find(content: bytes, delimiter: bytes, start: int, stop: int) -> int:
    """`content.find`, in steps: where that is done in a thread, others get their turn in between."""
    while stop - start > LARGE:
        found = content.find(delimiter, start, start + LARGE)
        if found >= 0:
            return found
        start += LARGE - len(delimiter) + 1
    return content.find(delimiter, start, stop)


class _Tree:
    """The walk through one message: what was found so far."""

    __slots__ = ("content", "defects", "found", "leaves")

    def __init__(self, content: bytes, defects: list[str]) -> None:
        self.content = content
        self.defects = defects
        self.leaves: list[Part] = []
        self.found: list[Part] | None = None
        """All entities in their order, if somebody wants them."""

    def defect(self, name: str) -> None:
        if name not in self.defects:
            self.defects.append(name)

    def part(self, start: int, stop: int, depth: int, inner: bool, report: bool) -> None:
        """Read an entity with its own header, between `start` and `stop`."""
        body, kind, encoding, disposition = _part_fields(self.content, start, stop)
        self.entity(max(start, body), stop, (kind, encoding, disposition), depth, inner, report)

    def entity(
        self, start: int, stop: int, fields: tuple[str | None, str, str], depth: int, inner: bool, report: bool
    ) -> None:
        """Read what lies between `start` and `stop`; fields: Content-Type, -Transfer-Encoding, -Disposition."""
        kind, encoding, disposition = fields
        lead = kind.lstrip()[:20].lower() if kind else ""
        composite = lead.startswith("multipart/")
        if composite or (lead.startswith(("message/rfc822", "message/global")) and "base64" not in encoding.lower()):
            if depth >= MAX_DEPTH:
                self.defect("deep_nesting")
                return
            place = 0 if self.found is None else len(self.found)
            if not composite:
                self.part(start, stop, depth + 1, True, report)
                self.encloses(place, fields, start, stop, depth)
                return
            name, parameters = content_type(kind)
            boundary = parameters.get("boundary", "").rstrip(" \t")[:200]
            if not boundary:
                self.defect("no_boundary")
            elif self.multipart(start, stop, boundary, depth + 1, inner, report or name == "multipart/report"):
                self.encloses(place, fields, start, stop, depth)
                return
            else:
                self.defect("bad_boundary")
            fields = (None, encoding, disposition)  # Shown as text by most readers, so read as text.
        if len(self.leaves) >= MAX_PARTS:
            self.defect("too_many_parts")
            return
        leaf = Part(*_leaf(*fields))
        leaf.start, leaf.end = start, stop
        leaf.in_report = inner and report
        leaf.depth = depth
        self.leaves.append(leaf)
        if self.found is not None:
            self.found.append(leaf)

    def encloses(self, place: int, fields: tuple[str | None, str, str], start: int, stop: int, depth: int) -> None:
        """Remember an entity that turned out to enclose others: those found since `place`."""
        if self.found is None or len(self.found) >= MAX_ENTITIES:
            return
        part = Part(*_leaf(*fields))
        part.start, part.end, part.depth = start, stop, depth
        self.found.insert(place, part)

    def multipart(self, start: int, stop: int, boundary: str, depth: int, inner: bool, report: bool) -> bool:
        """Read the parts between delimiters (RFC 2046 5.1.1); False if there is not one delimiter."""
        content = self.content
        mark = b"--" + boundary.encode("utf-8", "surrogateescape")
        delimiter = b"\r\n" + mark
        # The line end before a delimiter belongs to it; the first one may stand at the very start of the body.
        position = start if content.startswith(mark, start) else _find(content, delimiter, start, stop) + 2
        open_at = -1
        tries = MAX_DELIMITERS
        while position >= 2 and tries:
            tries -= 1
            after = position + len(mark)
            tail = content[after : after + 2]
            # A mark that goes on is that of another boundary which begins with this one.
            if tail == b"--" or tail[:1] in (b"\r", b" ", b"\t", b""):
                if open_at >= 0:
                    self.part(open_at, max(open_at, position - 2), depth, inner, report)
                if tail == b"--" or "too_many_parts" in self.defects:
                    return True
                line_end = content.find(b"\r\n", after, min(stop, after + 1000))
                open_at = line_end + 2 if line_end >= 0 else stop
                after = open_at - 2
            position = _find(content, delimiter, after, stop) + 2
        if open_at < 0:
            return False
        self.defect("missing_end")
        self.part(open_at, stop, depth, inner, report)
        return True
