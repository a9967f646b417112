"""The body of a message: its texts decoded, its attachments looked into, and what is wrong with its MIME structure.

Nothing here depends on the header section but for the three fields that say how the body is to be read. So copies of a
mailing, of which only the header differs, are read once (`Bodies`).
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

import xxhash

from outbound_guard.content import attachment, charset, fingerprint, html, language, mime, urls
from outbound_guard.content.attachment import Attachment
from outbound_guard.content.html import View
from outbound_guard.mail import Headers

TEXT_OCTETS = 64_000
"""Octets of an encoded text part that are decoded."""
MAX_TEXT_PARTS = 8
KEPT = 256
"""Bodies that are kept, how many octets all of them have at most, and each. With what was read of them it is some five
times as much memory."""
KEPT_OCTETS = 2_097_152
_LARGEST = 65_536
_NO_VIEW = View("", "", (), 0, 0, 0, "")


T = TypeVar("T")


class _Once(Generic[T]):
    """functools.cached_property without its lock, which all bodies would share: one in a thread would stop the rest."""

    def __init__(self, find: Callable[[Any], T]) -> None:
        self._find, self._name = find, find.__name__
        self.__doc__ = find.__doc__

    @overload
    def __get__(self, body: None, owner: type) -> _Once[T]: ...

    @overload
    def __get__(self, body: object, owner: type) -> T: ...

    def __get__(self, body: object | None, owner: type) -> _Once[T] | T:
        if body is None:
            return self
        found = body.__dict__[self._name] = self._find(body)
        return found


class Body:
    """What the MIME tree holds, and what can be said of its texts, which is found when it is first asked for."""

    def __init__(self) -> None:
        self.plain = self.html = self.lower_html = self.charset = ""
        self.html_cut = False
        self.texts = 0
        self.attachments: list[Attachment] = []
        self.malformed: list[str] = []
        """What is wrong with its structure; see `defects`."""

    @_Once
    def view(self) -> View:
        """The HTML part as its reader sees it; an empty one if there is no HTML."""
        return html.see(self.html) if self.html else _NO_VIEW

    @_Once
    def lower_text(self) -> str:
        """The text a reader sees, in lower case: of the HTML if there is one, else of text/plain."""
        return (self.view.text or self.plain).lower()

    @_Once
    def bare_text(self) -> str:
        """The text in lower case; HTML as it stands between its tags, since a tree of it costs more than all else."""
        return html.source_text(self.lower_html) if self.html else self.lower_text

    @_Once
    def language(self) -> str:
        """See Message.language."""
        return language.guess(self.bare_text)

    @_Once
    def written_urls(self) -> list[str]:
        """URLs as they stand in source and text, at most `urls.MAX_URLS`."""
        written = urls.find(self.html[: html.HTML_LIMIT]) if self.html else []
        if self.plain:
            written = list(dict.fromkeys(written + urls.find(self.plain)))[: urls.MAX_URLS]
        return written

    @_Once
    def written_hosts(self) -> tuple[str, ...]:
        """The hosts of `written_urls`; see Message.written_hosts."""
        return urls.hosts(self.written_urls)

    @_Once
    def written_domains(self) -> frozenset[str]:
        """The registrable domains of `written_hosts`."""
        return frozenset(map(urls.registrable, self.written_hosts))

    @_Once
    def file_names(self) -> tuple[str, ...]:
        """The names of the attachments, in their order; empty ones of those that have none."""
        return tuple([item.name for item in self.attachments])

    @_Once
    def defects(self) -> tuple[str, ...]:
        """What is malformed or dangerous in it (`content.defects.DEFECTS`)."""
        found = self.malformed.copy()
        if self.html:
            found += html.defects(self.lower_html, cut=self.html_cut)
        if "\0" in self.plain:
            found.append("nul_in_text")
        return tuple(found)

    @_Once
    def _words(self) -> list[str]:
        return fingerprint.words_of(self.lower_text)

    @_Once
    def _bare_words(self) -> list[str]:
        return fingerprint.words_of(self.bare_text) if self.html else self._words

    @_Once
    def _bare_vocabulary(self) -> frozenset[str]:
        return frozenset(self._bare_words)

    @_Once
    def _exact(self) -> int:
        return fingerprint.exact(self._bare_words)

    @_Once
    def _vocabulary(self) -> frozenset[str]:
        return frozenset(self._words)

    @_Once
    def _sketch(self) -> tuple[int, ...]:
        return fingerprint.sketch(self._words)

    def constant_words(self, names: frozenset[str]) -> list[str]:
        """The words of `lower_text` that are the same in every copy of a mailing; `names`: of the recipient."""
        return fingerprint.without_names(self._words, names)

    def fingerprint(self, names: frozenset[str]) -> int:
        """Of `bare_text`, without the recipient's `names`."""
        if names.isdisjoint(self._bare_vocabulary):
            return self._exact
        return fingerprint.exact(fingerprint.without_names(self._bare_words, names))

    def sketch(self, names: frozenset[str]) -> tuple[int, ...]:
        """Near-duplicate sketch of `constant_words`."""
        if names.isdisjoint(self._vocabulary):
            return self._sketch
        return fingerprint.sketch(self.constant_words(names))


class Bodies:
    """The last bodies, as they were read.

    They are found by a hash, which is cheap to make, and then compared octet for octet: a hash can be made to fit.
    """

    def __init__(self, most: int = KEPT) -> None:
        """`most`: how many are kept; 0: each is read."""
        self._most = most
        self._known: dict[tuple[int, str | None, str, str], tuple[bytes, Body]] = {}
        self._octets = 0

    def read(self, content: bytes, headers: Headers) -> Body:
        """The same as `read_body`."""
        size = len(content) - headers.end
        if not self._most or size > _LARGEST:
            return read_body(content, headers)
        octets = content[headers.end :]
        key = (xxhash.xxh3_64_intdigest(octets), *_how(headers))
        known = self._known.get(key)
        if known is not None and known[0] == octets:
            return known[1]
        body = read_body(content, headers)
        if known is None:
            self._known[key] = octets, body
            self._octets += size
            while len(self._known) > self._most or self._octets > KEPT_OCTETS:
                self._octets -= len(self._known.pop(next(iter(self._known)))[0])
        return body


def _how(headers: Headers) -> tuple[str | None, str, str]:
    """The fields that say how a body is to be read."""
    get = headers.get
    return get("content-type"), get("content-transfer-encoding") or "", get("content-disposition") or ""


def read_body(content: bytes, headers: Headers) -> Body:
    """Read what lies behind the header section; bounded, and never raises."""
    body = Body()
    leaves = mime.walk(content, headers.end, *_how(headers), body.malformed)
    for part in leaves:
        shown = part.type == "text/plain" or part.type == "text/html"
        if shown and not part.attached and not (part.name and body.texts) and not part.in_report:
            if body.texts < MAX_TEXT_PARTS:
                _take_text(content, part, body)
            continue
        if part.in_report or part.type in ("text/rfc822-headers", "message/delivery-status") or part.start >= part.end:
            continue
        body.attachments.append(attachment.inspect(content, part, body.malformed))
    body.lower_html = body.html.lower()
    return body


def _take_text(content: bytes, part: mime.Part, body: Body) -> None:
    body.texts += 1
    is_html = part.type == "text/html"
    cut = part.end - part.start > TEXT_OCTETS
    data = content[part.start : part.start + TEXT_OCTETS if cut else part.end]
    encoding = part.encoding
    if encoding == "quoted-printable":
        data = binascii.a2b_qp(data)
    elif encoding == "base64":
        data, sound = charset.base64(data, cut=cut)
        if not sound:
            body.malformed.append("broken_base64")
    elif encoding not in ("", "7bit", "8bit", "binary"):
        body.malformed.append("unknown_encoding")
    text, defect = charset.decode(data, part.charset, cut=cut)
    if defect:
        body.malformed.append(defect)
    if not body.charset:
        body.charset = part.charset[:40]
    if is_html:
        if len(body.html) < html.HTML_LIMIT:
            body.html = body.html + text if body.html else text
            body.html_cut = body.html_cut or cut
    elif len(body.plain) < html.TEXT_LIMIT:
        body.plain = (body.plain + "\n" + text if body.plain else text)[: html.TEXT_LIMIT]
