"""What the content model looks at: words, pairs of words, the form of links, files and HTML; alike in every language.

A feature is `bytes` with a prefix that says its kind, or a pair of words:

    word            a word of the visible text, in lower case, digits as 0
    (word, word)    two words side by side
    s:word          a word of the subject; `S:a b` two of them
    d:word          a word of the display name
    g:xy            two letters side by side in a script without spaces
    t:word          a word of the HTML title
    u:...           the form of links (never which host)
    a:...           files
    f:...           the form of text and HTML

Left out on purpose is whatever tells where or when a message was collected or who sent it: dates, Message-ID, Received
and other fields that transit adds, list tags, host names, addresses.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import chain, pairwise

from outbound_guard.content import attachment, urls
from outbound_guard.content.message import Message
from outbound_guard.mail import domain_of

Feature = bytes | tuple[bytes, bytes]

MAX_WORDS = 300
"""Words of the text that are looked at: what a reader sees first."""
MAX_SUBJECT = 150
MAX_URLS = 10

# ASCII: letters in lower case, digits as 0, the signs of money and percent kept, all else a space. Other octets stay.
_TABLE = bytes(
    ord(chr(c).lower())
    if chr(c).isascii() and chr(c).isalpha()
    else ord("0")
    if chr(c).isascii() and chr(c).isdigit()
    else c
    if c > 127 or chr(c) in "$%"
    else 32
    for c in range(256)
)
_TYPOGRAPHY = "’‘“”„«»–—…•·|。，、！？：；（）「」【】€£©®™✓→★"
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
)
_NO_SPACES = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_CYRILLIC = re.compile("[\u0370-\u04ff]")
# Letters of Cyrillic and Greek that look like Latin ones (Unicode TR 39 calls them confusable).
_ALIKE = str.maketrans(
    "абвгдеёзіјкмнорстухѕԁԛԝһӏɑοανεικρτυχ",
    "a6brдeeзijkmhopctyxsdqwhlaoaveikptux",
)
# Marks of replies and forwards in several languages, and tags of lists and forms, at the start of a subject.
_LEAD = re.compile(
    r"\s*(?:(?:\[[^\]]{1,40}\]|(?:re|aw|sv|fwd?|fw|wg|tr|rv|antw|odp|enc|res|vs|vl)\s?(?:\[\d{1,3}\])?\s?:)\s*){1,6}",
    re.I,
)
_HEXADECIMAL = re.compile(r"[0-9a-f]{16}")
_DANGERS = frozenset(
    (
        "address_in_name",
        "executable_attachment",
        "disk_image_attachment",
        "macro_attachment",
        "html_attachment",
        "double_extension",
        "bidi_in_name",
        "bidi_in_header",
        "encrypted_archive",
        "executable_in_archive",
        "html_form",
        "html_script",
        "html_frame",
    )
)
_BUCKETS = tuple(b"%d" % n for n in range(40))
_DEPTHS = tuple(b"u:depth%d" % n for n in range(9))
_NOT_CAPITALS = bytes(c for c in range(256) if not 65 <= c <= 90)


def _bucket(number: int) -> bytes:
    """Number of binary digits: 0, 1, 2-3, 4-7, 8-15 ..."""
    return _BUCKETS[min(number.bit_length(), 30)]


def _tidy(text: str, form: list[Feature]) -> str:
    """Text that is not pure ASCII without its tricks; what they were is added to `form`."""
    if max(text) > "\uffff":
        if any("\U0001d400" <= letter <= "\U0001d7ff" for letter in text):
            form.append(b"f:fancy-letters")
        text = unicodedata.normalize("NFKC", text)
    found = _INVISIBLE.findall(text)
    if found:
        if len(found) > 3:
            form.append(b"f:invisible-characters")
        text = _INVISIBLE.sub("", text)
    for sign in _TYPOGRAPHY:
        if sign in text:
            text = text.replace(sign, " ")
    if _CYRILLIC.search(text):
        mixed = sum(1 for word in text.split() if not word.isascii() and _mixes(word))
        if mixed > 2:
            form.append(b"f:mixed-scripts")
            text = text.translate(_ALIKE)
    return text


def _mixes(word: str) -> bool:
    return _CYRILLIC.search(word) is not None and any("a" <= letter <= "z" for letter in word)


def _words(text: str) -> list[bytes]:
    return text.encode("utf-8", "ignore").translate(_TABLE).split()


def extract(message: Message) -> list[Feature]:
    """The features of a message, each once; those of a text in two copies of a mailing are nearly the same."""
    return list(found(message))


def found(message: Message) -> dict[Feature, None]:
    """The same as keys, in the same order."""
    form: list[Feature] = []
    text = " ".join(message.constant_words()[:MAX_WORDS])
    ascii_only = text.isascii()
    if not ascii_only:
        text = _tidy(text, form)
    words = _words(text)[:MAX_WORDS]
    _subject(message, form)
    _links(message, form)
    _form(message, len(words), form)
    if not ascii_only:
        for run in _NO_SPACES.findall(text)[:60]:
            form += [b"g:" + (one + two).encode() for one, two in pairwise(run[:80])]
    return dict.fromkeys(chain(words, pairwise(words), form))


def _subject(message: Message, form: list[Feature]) -> None:
    subject = message.subject[:MAX_SUBJECT]
    if not subject.isascii():
        subject = _tidy(subject.lower(), form)
    lead = _LEAD.match(subject)
    if lead:
        subject = subject[lead.end() :]
    words = _words(subject)
    form += [b"s:" + word for word in words]
    form += [b"S:" + one + b" " + two for one, two in pairwise(words)]
    if not subject.isascii():
        for run in _NO_SPACES.findall(subject)[:5]:
            form += [b"g:" + (one + two).encode() for one, two in pairwise(run)]
    name = message.display_name
    if name and "@" not in name:
        form += [b"d:" + word for word in _words(name.lower()[:80])]


@lru_cache(4096)
def _host(authority: str) -> tuple[str, tuple[bytes, ...]]:
    """The registrable domain of a URL's host, and the features of the host's form."""
    host = urls.host_of(authority)
    labels = host.split(".")
    last = labels[-1]
    domain = urls.registrable(host)
    if last.isdigit():
        return domain, (b"u:address",)
    form = []
    if last not in ("", "example", "test", "invalid", "local", "localhost"):
        form.append(b"u:." + last.encode("utf-8", "ignore"))
    if "xn--" in host or not host.isascii():
        form.append(b"u:punycode")
    if len(labels) > 4:
        form.append(b"u:many-labels")
    if host.count("-") > 1:
        form.append(b"u:hyphens")
    digits = sum(map(host.count, "0123456789"))
    if digits > 2:
        form.append(b"u:digits" + _bucket(digits))
    if len(labels[0]) > 20:
        form.append(b"u:long-label")
    return domain, tuple(form)


def _links(message: Message, form: list[Feature]) -> None:
    seen = message.urls[:MAX_URLS]
    if not seen:
        form.append(b"u:none")
        return
    domains = set()
    for url in seen:
        authority, _, path = url.partition("/")
        domain, marks = _host(authority)
        domains.add(domain)
        form += marks
        if not path:
            form.append(b"u:bare")
            continue
        form.append(_DEPTHS[min(path.count("/"), 8)])
        if len(path) > 16 and _HEXADECIMAL.search(path):
            form.append(b"u:long-code")
        if "@" in path:
            form.append(b"u:holds-address")
        if "?" in path:
            path = path.partition("?")[0]
            form.append(b"u:query")
        end = path[-6:]
        if "." in end:
            ending = end.rpartition(".")[2]
            if ending.isalpha():
                form.append(b"u:file." + ending.lower().encode("utf-8", "ignore"))
    form.append(b"u:domains" + _bucket(len(domains)))
    form.append(b"u:own" if urls.registrable(message.from_domain) in domains else b"u:foreign")
    if message.misleading_links:
        form.append(b"u:misleading")


def _form(message: Message, words: int, form: list[Feature]) -> None:
    form.append(b"f:length" + _bucket(words))
    if message.html:
        view = message.view
        if not message.plain_text:
            form.append(b"f:html-only")
        form.append(b"f:images" + _bucket(view.images))
        if view.images and words < 20:
            form.append(b"f:picture-of-text")
        if len(view.hidden) > 400:
            form.append(b"f:much-hidden-text")
        if view.links:
            form.append(b"f:links" + _bucket(len(view.links)))
        if view.title:
            form += [b"t:" + word for word in _words(view.title.lower()[:80])]
    start = message.text[:1500].encode("ascii", "ignore")
    capitals = 32 * len(start.translate(None, _NOT_CAPITALS)) // (len(start) + 1)
    if capitals > 2:
        form.append(b"f:capitals" + _BUCKETS[capitals])
    exclamations = start.count(b"!")
    if exclamations > 1:
        form.append(b"f:exclamations" + _bucket(exclamations))
    if message.subject.isupper():
        form.append(b"f:subject-in-capitals")
    reply_to = message.reply_to
    if reply_to and domain_of(reply_to) != message.from_domain:
        form.append(b"f:reply-elsewhere")
    for item in message.attachments[:10]:
        ending = attachment.extension(item.name)
        form.append(
            b"a:." + ending.encode("utf-8", "ignore") if ending else b"a:" + item.type.encode("utf-8", "ignore")
        )
    if message.defects:
        form += [b"a:" + name.encode() for name in message.defects if name in _DANGERS]
