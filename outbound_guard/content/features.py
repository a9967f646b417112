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
from itertools import pairwise

from outbound_guard.content import attachment, urls
from outbound_guard.content.message import Message
from outbound_guard.mail import domain_of

Feature = bytes | tuple[bytes, bytes]

MAX_WORDS = 300
"""Words of the text that are looked at: what a reader sees first."""
MAX_SUBJECT = 150
MAX_URLS = 25

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
    form: list[Feature] = []
    text = " ".join(message.constant_words()[: MAX_WORDS * 2])
    if not text.isascii() and text:
        text = _tidy(text, form)
    words = _words(text)[:MAX_WORDS]
    found: set[Feature] = set(words)
    found.update(pairwise(words))
    if not text.isascii():
        for run in _NO_SPACES.findall(text)[:60]:
            found.update([b"g:" + (one + two).encode() for one, two in pairwise(run[:80])])
    _subject(message, found, form)
    _links(message, found)
    _form(message, words, form)
    found.update(form)
    return list(found)


def _subject(message: Message, found: set[Feature], form: list[Feature]) -> None:
    subject = message.subject[:MAX_SUBJECT]
    if not subject.isascii():
        subject = _tidy(subject.lower(), form)
    lead = _LEAD.match(subject)
    if lead:
        subject = subject[lead.end() :]
    words = _words(subject)
    found.update([b"s:" + word for word in words])
    found.update([b"S:" + one + b" " + two for one, two in pairwise(words)])
    for run in _NO_SPACES.findall(subject)[:5]:
        found.update([b"g:" + (one + two).encode() for one, two in pairwise(run)])
    name = message.display_name
    if name and "@" not in name:
        found.update([b"d:" + word for word in _words(name.lower()[:80])])


def _links(message: Message, found: set[Feature]) -> None:
    seen = message.urls
    if not seen:
        found.add(b"u:none")
        return
    own = urls.registrable(message.from_domain)
    domains = message.domains
    found.add(b"u:domains" + _bucket(len(domains)))
    found.add(b"u:own" if own in domains else b"u:foreign")
    for host in message.hosts[:MAX_URLS]:
        labels = host.split(".")
        last = labels[-1]
        if last.isdigit():
            found.add(b"u:address")
            continue
        if last not in ("example", "test", "invalid", "local", "localhost"):
            found.add(b"u:." + last.encode("utf-8", "ignore"))
        first = labels[0]
        if "xn--" in host or not host.isascii():
            found.add(b"u:punycode")
        if len(labels) > 4:
            found.add(b"u:many-labels")
        if host.count("-") > 1:
            found.add(b"u:hyphens")
        digits = sum(map(host.count, "0123456789"))
        if digits > 2:
            found.add(b"u:digits" + _bucket(digits))
        if len(first) > 20:
            found.add(b"u:long-label")
    for url in seen[:MAX_URLS]:
        _, _, path = url.partition("/")
        if not path:
            found.add(b"u:bare")
            continue
        found.add(b"u:depth" + _BUCKETS[min(path.count("/"), 8)])
        path, query, _ = path.partition("?")
        if query:
            found.add(b"u:query")
        ending = path[-6:].rpartition(".")[2] if "." in path[-6:] else ""
        if ending and ending.isalpha():
            found.add(b"u:file." + ending.lower().encode("utf-8", "ignore"))
        if _HEXADECIMAL.search(url):
            found.add(b"u:long-code")
        if "@" in url:
            found.add(b"u:holds-address")
    if message.misleading_links:
        found.add(b"u:misleading")


def _form(message: Message, words: list[bytes], form: list[Feature]) -> None:
    view = message.view
    form.append(b"f:length" + _bucket(len(words)))
    if message.html:
        if not message.plain_text:
            form.append(b"f:html-only")
        form.append(b"f:images" + _bucket(view.images))
        if view.images and len(words) < 20:
            form.append(b"f:picture-of-text")
        if len(view.hidden) > 400:
            form.append(b"f:much-hidden-text")
        if view.links:
            form.append(b"f:links" + _bucket(len(view.links)))
        if view.title:
            form += [b"t:" + word for word in _words(view.title.lower()[:80])]
    start = message.text[:1500]
    capitals = sum(map(str.isupper, start.split()))
    if capitals > 5:
        form.append(b"f:capitals" + _bucket(capitals))
    exclamations = start.count("!")
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
    form += [b"a:" + name.encode() for name in message.defects if name in _DANGERS]
