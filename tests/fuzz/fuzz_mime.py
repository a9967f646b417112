"""Messages as the pipeline reads them: parsing, features, and what leaves them again."""

from __future__ import annotations

from collections.abc import Iterator

from outbound_guard.content import Message, features, parse
from outbound_guard.content.charset import decode, header_text
from outbound_guard.content.defects import DEFECTS
from outbound_guard.content.html import see
from tests.fuzz.target import Choices, Target, files, holds, robustness

PROPERTIES = [name for name in dir(Message) if isinstance(getattr(Message, name), property)]
_CHARSETS = ("utf-8", "utf-7", "gb2312", "hz", "utf-16", "big5", "iso-2022-jp", "x", "", "idna", "rot13", "base64")


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind, charset = choices.number(4), choices.one(_CHARSETS)
    content = choices.rest()
    if kind == 0:
        text, defect = decode(content, charset)
        holds(defect in (None, "unknown_charset", "undecodable_text"), defect)
        view = see(text)
        holds(len(view.text) <= len(text) * 3 + 10, text)
        found, _ = header_text(text, 300)
        holds(len(found) <= 300, text)
        return
    message = parse(content)
    said = {name: getattr(message, name) for name in PROPERTIES}
    holds(set(message.defects) <= set(DEFECTS), message.defects)
    holds(0 <= message.fingerprint < 1 << 64, message.fingerprint)
    holds(message.headers.end <= len(content), content)
    names = features.extract(message)
    holds(len(names) == len(set(names)), names)
    if kind == 1:
        again = parse(content)
        holds({name: getattr(again, name) for name in PROPERTIES} == said, "read twice, says another thing")
    # What is kept of it goes into JSON and SQL.
    for text in (message.subject, said["text"]):
        holds(isinstance(text, str) and text.encode("utf-8", "strict") is not None, text)


def seeds() -> Iterator[bytes]:
    yield b"\1\0From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
    yield b"\1\0Content-Type: text/html\r\n\r\n<template><template>x</template></template>"
    yield b"\1\0Content-Type: text/html\r\n\r\n<frameset><frame src=x></frameset>"
    yield b"\1\0Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B\0" + "раyраl".encode()
    yield b"\0\0<a href=http://x.example/>www.y.example</a>"
    yield b"\0\0" + b"Subject " * 50
    yield b"\0\3~{<:Ky2;S{#,~}"
    for kind in ("malformed", "fixture"):
        for number, content in enumerate(robustness(kind, 120, 6000)):
            yield bytes((number % 4, number % 12)) + content
    for golden in files("golden", "*.toml"):
        yield b"\2\0" + golden[:3000].replace(b"\n", b"\r\n")


WORDS = (
    *(b"\r\n", b"\r\n\r\n", b"\0", b"--b", b"--b--", b"\xff", b"=3D", b"=?utf-8?q?a?=", b"=?x?b?4?=", b'"', b";", b":"),
    *(b"From: ", b"To: ", b"Subject: ", b"Content-Type: ", b"multipart/mixed; boundary=b", b"message/rfc822", b"text/"),
    *(b"text/html", b"; charset=utf-8", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable", b"uuencode"),
    *(b'Content-Disposition: attachment; filename="a.exe"', b"filename*0*=utf-8''%41", b"PK\x03\x04", b"UEsDBA=="),
    *(
        b"<p>",
        b"<a href=",
        b"http://x.example/",
        b"<div style='display:none'>",
        b"<style>",
        b"&lt;",
        b"<!--",
        b"\x1b$B",
    ),
    *(
        b"boundary*=",
        b"a@b.example",
        b"Message-ID: <a@b>",
        b"Received: from ",
        b"List-Unsubscribe: <",
        b"(",
        b")",
        b"@",
    ),
)
TARGET = Target(attempt, seeds, WORDS, lead=2, longest=8192)
