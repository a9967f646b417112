"""Messages as the made-up provider's servers hand them in: header section with their traces, and a text."""

from __future__ import annotations

import base64
import functools
import random
import tomllib
from email.utils import formatdate
from importlib import resources
from typing import Any

import msgspec

from outbound_guard.demo.provider import PROVIDER, SCRIPTS, Sender

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Mail(msgspec.Struct, frozen=True):
    """One message, ready to be handed in."""

    server: str
    """The login of the server that hands it in."""
    mail_from: str
    recipients: tuple[str, ...]
    content: bytes
    identity: str
    """Who the product will find to be the sender."""
    attack: str = ""
    """Of an attack: its name; empty: honest."""


@functools.cache
def sentences() -> dict[str, Any]:
    """What is written, by language; `attacks` by kind of attack."""
    return tomllib.loads(resources.files("outbound_guard.demo").joinpath("sentences.toml").read_text("utf-8"))


def letter(draw: random.Random, language: str, to: str) -> tuple[str, str]:
    """Subject and text of what somebody in an office writes to `to`."""
    said = sentences()[language]
    first = to.partition(".")[0].partition("@")[0].title()
    number = draw.randrange(2000, 9000)
    middle = draw.sample(said["sentences"], draw.randint(2, 5))
    lines = [draw.choice(said["openings"]).format(number, first), "", *middle, "", draw.choice(said["closings"])]
    return draw.choice(said["subjects"]).format(number), "\n".join(lines)


def printed(draw: random.Random, language: str, kind: str) -> tuple[str, str]:
    """Subject and text of what a program writes: `order`, `form` or `news`."""
    said = sentences()[language][kind]
    place = 2 * draw.randrange(len(said) // 2)
    number, name = draw.randrange(10000, 99999), draw.choice(("Kim", "Robin", "Sascha", "Noor"))
    return said[place].format(number, name), said[place + 1].format(number, name)


def built(
    draw: random.Random, now: float, sender: Sender, to: str, subject: str, text: str, traces: str, from_: str = ""
) -> bytes:
    """A whole message. `traces` are the header fields that servers have put in front, `from_` another From."""
    plain = text.isascii()
    body = text if plain else base64.encodebytes(text.replace("\n", "\r\n").encode()).decode()
    fields = (
        f"{traces}"
        f"Date: {formatdate(now - draw.random())}\n"
        f"From: {from_ or f'{_word(sender.name)} <{sender.address}>'}\n"
        f"To: <{to}>\n"
        f"Subject: {_word(subject)}\n"
        f"Message-ID: <{_id(draw, 16).lower()}@{sender.account}>\n"
        f"MIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset={'us-ascii' if plain else 'utf-8'}\n"
        f"Content-Transfer-Encoding: {'7bit' if plain else 'base64'}\n"
        + (f"User-Agent: {sender.program}\n" if sender.program else "")
    )
    return f"{fields}\n{body}\n".replace("\r\n", "\n").replace("\n", "\r\n").encode()


def by_login(draw: random.Random, now: float, sender: Sender, client_ip: str = "") -> str:
    """The trace of a message that came with a login (Postfix)."""
    ip = client_ip or sender.client_ip
    return (
        f"Received: from [{ip}] (client-{ip.replace('.', '-')}.stadtnetz.test [{ip}])\n"
        f"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n"
        f"\t(Authenticated sender: {sender.address})\n"
        f"\tby {sender.server}.{PROVIDER} (Postfix) with ESMTPSA id {_id(draw, 11)};\n\t{formatdate(now)}\n"
    )


def by_program(draw: random.Random, now: float, sender: Sender, script: str = "") -> str:
    """The trace of a message that a program on a web server sent; `script`: the file, if it was PHP's."""
    name = script or SCRIPTS.get(sender.kind, "")
    php = f"X-PHP-Originating-Script: {sender.uid}:{name}\n" if name else ""
    return (
        f"Received: by {sender.server}.{PROVIDER} (Postfix, from userid {sender.uid})\n"
        f"\tid {_id(draw, 11)}; {formatdate(now)}\n{php}"
    )


def from_outside(draw: random.Random, now: float, sender: Sender) -> str:
    """The trace of a message from a stranger that a mailbox forwards."""
    ip = f"198.51.100.{draw.randrange(1, 20)}"
    return (
        f"Received: from mx.bigmail.example (mx.bigmail.example [{ip}])\n"
        f"\tby {sender.server}.{PROVIDER} (Postfix) with ESMTPS id {_id(draw, 11)};\n\t{formatdate(now)}\n"
        f"X-Forwarded-For: {sender.address} {sender.correspondents[0]}\n"
    )


def _word(text: str) -> str:
    """A text as it may stand in a header field (RFC 2047)."""
    return text if text.isascii() else f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


def _id(draw: random.Random, length: int) -> str:
    return "".join(draw.choices(_BASE32, k=length))
