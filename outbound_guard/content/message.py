"""A message, read once: its header at once; text, links, attachments and defects when they are first asked for."""

from __future__ import annotations

import functools
import re

from outbound_guard.content import address, attachment, charset, urls
from outbound_guard.content.attachment import Attachment
from outbound_guard.content.body import Bodies, Body, read_body
from outbound_guard.content.html import Link, View
from outbound_guard.mail import Headers, domain_of

LONG_HEADER = 65_536
"""Octets of a header section; what is longer is a defect, and beyond them no other defect is looked for."""
_VERSION = re.compile(r"[\d(\[<;,/:@#+]")
_ONCE = ("from", "subject", "to", "date", "message-id", "reply-to", "sender", "content-type")
_INVITATIONS = ("text/calendar", "text/x-vcalendar", "application/ics", "application/calendar+xml")
_OTHER_WAYS = frozenset(("html_form", "html_refresh", "html_deep", "html_too_long", "html_frame"))
_CONTROLS = bytes(set(range(32)) - {9, 10, 13} | {127})


def mailer_name(value: str) -> str:
    """The name of a mail program without its version: `PHPMailer 6.8.0 (https://...)` -> `phpmailer`."""
    return _mailer_name(value[:200])


@functools.lru_cache(2048)
def _mailer_name(value: str) -> str:
    words = []
    for word in value.lower().split():
        found = _VERSION.search(word)
        if found:
            word = word[: found.start()]
            if word.strip("v-."):
                words.append(word.rstrip("-."))
            break
        words.append(word)
    return " ".join(words)[:60].strip(" -.")


class Message:
    """What a message says. Everything below the header is read at first use and then kept; nothing here raises."""

    __slots__ = (
        "_bodies",
        "_body",
        "_content",
        "_defects",
        "_fingerprint",
        "_found",
        "_from",
        "_names",
        "_reply_to",
        "_subject",
        "headers",
    )

    def __init__(self, content: bytes, bodies: Bodies | None = None) -> None:
        """`bodies` remembers bodies that were read before."""
        self._content, self._bodies = content, bodies
        self.headers = Headers(content)
        self._from: tuple[str, str, int] | None = None
        self._reply_to: str | None = None
        self._names: frozenset[str] | None = None
        self._subject: tuple[str, bool] | None = None
        self._body: Body | None = None
        self._found: list[str] | None = None
        self._defects: tuple[str, ...] | None = None
        self._fingerprint: int | None = None

    # Identity: from the header alone.

    @property
    def size(self) -> int:
        """Octets of the whole message."""
        return len(self._content)

    def _author(self) -> tuple[str, str, int]:
        if self._from is None:
            self._from = address.first(self.headers.get("from"))
        return self._from

    @property
    def from_address(self) -> str:
        """The first address of From, in lower case; empty if there is none."""
        return self._author()[0]

    @property
    def from_domain(self) -> str:
        """The domain of `from_address`."""
        return domain_of(self._author()[0])

    @property
    def display_name(self) -> str:
        """The display name of From, decoded, at most 300 characters."""
        return self._author()[1]

    @property
    def reply_to(self) -> str:
        """The address of Reply-To, in lower case; empty if there is none.

        Of several the first in another domain than From: who wants the answers may have them sent to the owner as well.
        """
        if self._reply_to is None:
            fields = list(self.headers.all("reply-to"))
            self._reply_to = address.first(fields[0])[0] if fields else ""
            field = ", ".join(fields)
            if field.count("@") > 1:
                others = [one for one in address.addresses(field) if domain_of(one) != self.from_domain]
                self._reply_to = others[0] if others else self._reply_to
        return self._reply_to

    @property
    def subject(self) -> str:
        """The subject, decoded (RFC 2047), at most 500 characters."""
        if self._subject is None:
            self._subject = charset.header_text(self.headers.get("subject") or "", 500)
        return self._subject[0]

    @property
    def message_id(self) -> str:
        """Message-ID without its angle brackets, at most 300 characters."""
        return (self.headers.get("message-id") or "").strip(" \t<>")[:300]

    @property
    def mailer(self) -> str:
        """The program that wrote the message (X-Mailer or User-Agent), in lower case, without version."""
        value = self.headers.get("x-mailer") or self.headers.get("user-agent")
        return mailer_name(value) if value else ""

    # The body.

    def read(self) -> None:
        """Read the body now; for a thread, if it is large."""
        self._read()

    def _read(self) -> Body:
        if self._body is None:
            read = self._bodies.read if self._bodies is not None else read_body
            self._body = read(self._content, self.headers)
        return self._body

    @property
    def charset(self) -> str:
        """The charset of the first text part, in lower case as it is labelled; empty if it is not."""
        return self._read().charset

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The parts that are not shown as text, inline pictures included."""
        return tuple(self._read().attachments)

    @property
    def html(self) -> bool:
        """True if there is an HTML text."""
        return bool(self._read().html)

    @property
    def plain_text(self) -> str:
        """The text/plain parts, at most 32,000 characters; empty if there are none."""
        return self._read().plain

    @property
    def view(self) -> View:
        """The HTML part as its reader sees it; an empty one if there is no HTML."""
        return self._read().view

    @property
    def text(self) -> str:
        """The text a reader sees: of the HTML if there is one, else of text/plain; at most 32,000 characters."""
        return self.view.text or self._read().plain

    @property
    def hidden_text(self) -> str:
        """Text of the HTML that is not seen (display:none, tiny or white letters), at most 4,000 characters."""
        return self.view.hidden

    @property
    def lower_text(self) -> str:
        """`text` in lower case."""
        return self._read().lower_text

    @property
    def language(self) -> str:
        """A guess at the language or script of the text (`en`, `de`, `cyrillic`, `cjk` ...); empty if unclear.

        HTML counts as it stands between its tags, as for the fingerprint.
        """
        return self._read().language

    @property
    def links(self) -> tuple[Link, ...]:
        """The links of the HTML, at most 100."""
        return self.view.links

    @property
    def misleading_links(self) -> tuple[Link, ...]:
        """Links whose visible text names another registrable domain than the one they lead to."""
        return tuple(link for link in self.view.links if link.shown and link.misleading)

    @property
    def written_hosts(self) -> tuple[str, ...]:
        """The hosts of URLs as they are written in source and text, in lower case, each once: without a tree."""
        return self._read().written_hosts

    def links_to(self, domain: str) -> bool:
        """True if one of `written_hosts` lies in this registrable domain."""
        return domain in self._read().written_domains

    @property
    def links_elsewhere(self) -> bool:
        """True if one of `domains` is not that of From, or it may lead there in a way that `domains` does not tell."""
        invites = any(
            part.type in _INVITATIONS or attachment.extension(part.name) in ("ics", "vcs") for part in self.attachments
        )
        otherwise = not _OTHER_WAYS.isdisjoint(self.defects) or len(self.urls) >= urls.MAX_URLS
        return invites or otherwise or not {urls.registrable(self.from_domain)}.issuperset(self.domains)

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of `attachments`."""
        return self._read().file_names

    @property
    def urls(self) -> tuple[str, ...]:
        """URLs of HTML source and text without their scheme (`host/path`), each once, at most 100."""
        if self._found is None:
            self._found = self._read().written_urls
            if self.html:
                self._found = list(self._found)
                hosts = {url.partition("/")[0].lower() for url in self._found}
                for link in self.view.links:
                    if link.host and link.host not in hosts:
                        self._found.append(link.host)
                        hosts.add(link.host)
        return tuple(self._found)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of `urls` in lower case, each once."""
        return urls.hosts(list(self.urls))

    @property
    def domains(self) -> tuple[str, ...]:
        """The registrable domains of `urls` in lower case, each once; IP addresses stay as they are."""
        return tuple(dict.fromkeys(map(urls.registrable, self.hosts)))

    @property
    def defects(self) -> tuple[str, ...]:
        """What is malformed or dangerous in the form: names from `content.defects.DEFECTS`, each once."""
        if self._defects is None:
            found = [*_header_defects(self), *self._read().defects]
            self._defects = tuple(dict.fromkeys(found)) if found else ()
        return self._defects

    # The same text again?

    def _recipient(self) -> frozenset[str]:
        if self._names is None:
            self._names = address.names(self.headers.get("to"))
        return self._names

    def constant_words(self) -> list[str]:
        """The words of `lower_text`, at most 800, without addresses, URLs and the recipient's name."""
        return self._read().constant_words(self._recipient())

    @property
    def fingerprint(self) -> int:
        """Exact 64-bit hash of the normalised text, the same in every copy of a mailing; 0 for too little text.

        HTML counts as it stands between its tags: a tree of it, which costs more than all the rest, is not built.
        """
        if self._fingerprint is None:
            self._fingerprint = self._read().fingerprint(self._recipient())
        return self._fingerprint

    @property
    def sketch(self) -> tuple[int, ...]:
        """Near-duplicate sketch: see `content.fingerprint`."""
        return self._read().sketch(self._recipient())


def _header_defects(message: Message) -> list[str]:
    headers, content = message.headers, message._content
    found: list[str] = []
    if not headers.fields:
        found.append("no_header")
    unique = headers.names
    if len(unique) != len(headers.fields):
        names = [name for name, _ in headers.fields]
        found += [f"duplicate_header:{name}" for name in _ONCE if name in unique and names.count(name) > 1]
    _, name, count = message._author()
    if "from" not in unique:
        found.append("no_from")
    elif count != 1:
        found.append("several_from" if count else "bad_from")
    head = content[: min(headers.end, LONG_HEADER)]
    if headers.end > LONG_HEADER + 4:
        found.append("header_block_too_long")
    if len(head.translate(None, _CONTROLS)) != len(head):
        found.append("nul_in_header" if b"\0" in head else "control_in_header")
    if len(head) > 998 and max(map(len, head.split(b"\r\n"))) > 998:
        found.append("header_too_long")
    if not head.isascii():
        try:
            head.decode("utf-8")
        except UnicodeDecodeError:
            found.append("raw_8bit_header")
    subject = message.subject
    if not message._subject or not message._subject[1] or "=?" in name:
        found.append("bad_encoded_word")
    if attachment.turns_text(subject) or attachment.turns_text(name):
        found.append("bidi_in_header")
    if "@" in name:
        shown = address.first(name)[0]
        if shown and urls.registrable(domain_of(shown)) != urls.registrable(message.from_domain):
            found.append("address_in_name")
    return found
