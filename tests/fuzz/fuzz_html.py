"""Hostile HTML and messages at the desk: what is shown can run, fetch and follow nothing. Judged by another parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from outbound_guard.desk.reading.frame import frame
from outbound_guard.desk.reading.markup import OUTPUT, rewritten
from outbound_guard.desk.reading.message import read
from tests.fuzz.target import Choices, Target, holds, one_line, robustness

TAGS = frozenset(
    [
        "p",
        "div",
        "blockquote",
        "pre",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "caption",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "td",
        "th",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "b",
        "strong",
        "i",
        "em",
        "u",
        "s",
        "sub",
        "sup",
        "small",
        "big",
        "code",
        "tt",
        "cite",
        "br",
        "hr",
        "span",
    ]
)
ATTRIBUTES = frozenset({"class", "title", "colspan", "rowspan"})
_CLASSES = frozenset({"hidden", "mark", "link", "misleading", "target", "picture", "gone", "part"})
# What acts on the display, or turns the direction of what follows.
_ACTING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Judge(HTMLParser):
    """Goes through a document and objects."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.opened: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        holds(tag in TAGS, "an element that may not be", tag)
        for name, value in attrs:
            holds(name in ATTRIBUTES, "an attribute that may not be", tag, name, value)
            holds(name != "class" or set((value or "").split()) <= _CLASSES, "a class of the message's own", value)
            holds(name not in ("colspan", "rowspan") or re.fullmatch(r"[1-9]\d?", value or ""), name, value)
            holds(not _ACTING.search(value or ""), "letters that act", value)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl!r}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"a processing instruction: {data!r}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a section: {data!r}")

    def handle_data(self, data: str) -> None:
        holds(not _ACTING.search(data), "letters that act", data)


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind = choices.number(3)
    if kind == 0:
        markup = rewritten(choices.rest().decode("utf-8", "replace"))
        harmless(markup.html)
        holds(len(markup.html) <= 3 * OUTPUT, len(markup.html))
        holds(not _ACTING.search(markup.text), markup.text)
        for target in markup.targets:
            holds(one_line(target.text) and one_line(target.address), target)
            holds(len(target.text) <= 1000 and len(target.address) <= 5000, target)
        for note in markup.notes:
            holds(one_line(note), note)
        return
    content = choices.rest()
    if kind == 1:
        content = b"Content-Type: text/html; charset=utf-8\r\n\r\n" + content
    reading = read(content)
    harmless(reading.html)
    for field in reading.fields:
        holds(one_line(field.name) and one_line(field.text), field)
    for part in reading.parts:
        for word in (part.type, part.name, part.encoding, part.charset):
            holds(one_line(word), part)
    holds(one_line(reading.subject), reading.subject)
    for note in reading.notes:
        holds(one_line(note), note)
    for text in (reading.text, reading.source):
        holds(not _ACTING.search(text), text)
    document = frame(reading)
    holds(document.count("<style>") == 1 and document.count("<meta ") == 4, "another document")
    holds(
        len(re.findall(r"(?i)<(?:script|iframe|object|embed|link|base|form|img|svg|a)[\s/>]", document)) == 0, document
    )
    for word in (reading.html, reading.text, reading.subject):
        word.encode("utf-8", "strict")


def harmless(fragment: str) -> None:
    """By two readers that know nothing of each other."""
    Judge(fragment)
    holds(
        not re.search(r"(?i)<\s*(?:script|style|iframe|object|embed|link|base|form|meta|svg|img)", fragment), fragment
    )
    holds(
        not re.search(r"(?i)<[^>]*\s(?:href|src|style|on\w+|action|srcset|data|background)\s*=[^<>\"]*>", fragment),
        fragment,
    )


def seeds() -> Iterator[bytes]:
    for text in (
        "<p onclick=x()>a<script>alert(1)</script><a href='javascript:x'>www.bank.example</a>",
        "<svg><style><img src=x onerror=x></style></svg><math><mtext><table><mglyph><style><img src=x>",
        "<div style='display:none'>a</div><img src=http://t.example/1.gif width=1 height=1><form action=http://e.example>",
        "<table><td colspan=3><base href=//x><meta http-equiv=refresh content='0;url=http://x'><template>x</template>",
        "<noscript><p title='</noscript><img src=x onerror=x>'>",
        "<!--><img src=x>-->",
        "<![CDATA[<b>]]>\u202eabc",
        "<a href='https://real.example'>https://bank.example</a><select><option>a<textarea></textarea>",
    ):
        for kind in (b"\0", b"\1"):
            yield kind + text.encode()
    for kind in ("malformed", "fixture"):
        for content in robustness(kind, 150, 6000):
            yield b"\2" + content


WORDS = (
    *(
        b"<",
        b">",
        b"</",
        b"/>",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<?",
        b'"',
        b"'",
        b"=",
        b"&lt;",
        b"&#x3c;",
        b"&#0;",
    ),
    *(
        b"<script>",
        b"<style>",
        b"<svg>",
        b"<math>",
        b"<template>",
        b"<noscript>",
        b"<table>",
        b"<td colspan=",
        b"<title>",
    ),
    *(
        b"<a href=",
        b"<img src=",
        b" onerror=x ",
        b" style='",
        b"display:none",
        b"color:#fff",
        b"url(http://x)",
        b"<form>",
    ),
    *(
        b"javascript:",
        b"data:text/html,",
        b"http://x.example/",
        b"<base href=",
        b"<meta http-equiv=refresh ",
        b"<iframe>",
    ),
    *(
        b"<plaintext>",
        b"<xmp>",
        b"<listing>",
        b"<frameset>",
        b"<select>",
        b"<option>",
        b"\xe2\x80\xae",
        b"\0",
        b"<mglyph>",
    ),
    *(
        b"class=hidden",
        b"title=",
        b"\xc2\x85",
        b"\xe2\x80\x8b",
        b"Content-Type: text/html\r\n",
        b"\r\n\r\n",
        b"Subject: ",
    ),
)
TARGET = Target(attempt, seeds, WORDS, lead=1, longest=6000)
