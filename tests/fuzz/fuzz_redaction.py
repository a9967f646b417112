"""Texts with an address, a number or a handle planted in them: it is found, and to redact twice changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from outbound_guard.desk.redaction.redact import redact
from tests.fuzz.target import Choices, Target, files, holds, robustness

PLANTED = (
    ("jane.doe@example.com", "jane.doe"),
    ("<j.doe+lists@mail.example.co.uk>", "doe+lists"),
    ('"Jane Doe"@example.com', "Jane Doe"),
    ("mailto:janedoe@example.com?subject=x", "janedoe"),
    ("janedoe=40example.com", "janedoe"),
    ("janedoe (at) example (dot) com", "janedoe"),
    ("janedoe＠example.com", "janedoe"),
    ("jänedö@exämple.example", "jänedö"),
    ("+49 89 1234567", "1234567"),
    ("+1 (555) 123-4567", "123-4567"),
    ("tel: 089 / 12 34 56-78", "34 56"),
    ("https://t.me/janedoe77", "janedoe77"),
    ("Skype: jane.doe77", "jane.doe77"),
)
ROLES = ("postmaster@example.com", "abuse@example.com", "192.0.2.7", "550 5.7.1", "bl.example.net")


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    what, where = choices.number(len(PLANTED) + 1), choices.number(256)
    text = choices.rest().decode("utf-8", "replace")[:800]
    if what < len(PLANTED):
        planted, secret = PLANTED[what]
        lines = text.split("\n")
        lines.insert(where % (len(lines) + 1), planted)
        text = "\n".join(lines)
        found = redact(text)
        holds(text.count(secret) > found.count(secret), "left in", planted, found)
    else:
        found = redact(text)
    holds(redact(found) == found, "redacting twice changes something", text, found, redact(found))
    holds(len(found) <= 20 * len(text) + 100, len(found))


def seeds() -> Iterator[bytes]:
    for number in range(len(PLANTED) + 1):
        yield bytes((number, 1)) + b"Dear Sir,\nplease write to\nKind regards\nJohn Smith\n"
        yield bytes((number, 0)) + "Sehr geehrte Frau Müller,\nHauptstraße 12, 80331 München\nMfG\nHans Maier".encode()
    for number, role in enumerate(ROLES):
        yield bytes((number, 2)) + role.encode() + b"\nOn Monday Bob wrote:\n> x\n"
    for kind in ("dsn", "fixture"):
        for number, content in enumerate(robustness(kind, 40, 800)):
            yield bytes((number % 14, number)) + content
    for content in files("logs", "*"):
        yield b"\0\5" + content[:700]


WORDS = (
    *(
        b"\n",
        b"\r\n",
        b" ",
        b"@",
        b"=40",
        b"%40",
        b" at ",
        b" dot ",
        b"(at)",
        b"[dot]",
        b"<",
        b">",
        b'"',
        b":",
        b"=\n",
        b".",
    ),
    *(
        b"jane",
        b"example.com",
        b"Dear ",
        b"Mr. ",
        b"Frau ",
        b"Kind regards\n",
        b"Tel: ",
        b"+49 ",
        b"(0)",
        b"123",
        b"Skype: ",
    ),
    *(
        b"https://t.me/",
        b"Message-ID: <",
        b"postmaster@",
        b"noreply@",
        b"12 Main Street",
        b"80331 ",
        b"\xc3\xbc",
        b"\xff",
    ),
    *(b"[address removed]", b"[number removed]", b"[name removed]", b"[handle removed]", b"From: ", b"To: ", b"wrote:"),
)
TARGET = Target(attempt, seeds, WORDS, lead=2, longest=800)
