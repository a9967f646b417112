"""Composes training messages from `samples.txt`: modern mail written by software, and the frauds of today.

Ham and spam get their names, numbers, links, HTML dress and senders from the same hands, so that only what the texts
say tells them apart. Deterministic: the same seed gives the same messages.
"""

from __future__ import annotations

import html
import random
import re
from collections.abc import Callable
from importlib import resources

import msgspec

_FIRST = (
    "Anna Ben Clara David Emma Felix Grace Hugo Ines Jonas Karin Luca Maria Nina Oskar Paula Quentin Rosa Samuel Tina "
    "Uwe Vera Walter Yusuf Zoe Ahmed Chen Priya Olga Ivan Fatima Kenji Mateo Sofia Lars Ewa"
)
_LAST = (
    "Smith Miller Jones Schmidt Weber Martin Dubois Garcia Lopez Rossi Silva Jansen Novak Kowalski Larsen Ivanov "
    "Tanaka Wang Kaya Brown Taylor Fischer Moreau Ferrari Costa Bakker Lindberg Okafor Singh Nguyen"
)
_FIRMS = (
    "Alder Beacon Cobalt Delta Elm Falcon Garnet Harbor Iris Juniper Kestrel Linden Maple Nordic Oak Poppy Quartz "
    "River Stone Tulip Union Violet Willow Yarrow Zenith Bright Green Blue Silver Amber"
)
_TRADES = (
    "Bikes Books Coffee Garden Media Travel Dental Hotel Bakery Software Hosting Fashion Toys Optics Studio Tools "
    "Sports Clinic School Energy Logistics Foods Wine Furniture Print Cars Music Pets Design Systems"
)
_THINGS = (
    "garden chair,LED lamp,running shoes,coffee grinder,phone case,wool blanket,vitamin C,red wine,bicycle pump,"
    "office chair,wireless headphones,tea set,winter jacket,rain boots,notebook A5,printer cartridge,"
    "steel bolts,solar lamp,yoga mat,kitchen knife,dog food,ceiling fan,photo book,concert ticket,"
    "web hosting S,annual licence,face cream,car tyres"
)
_CITIES = (
    "London Leeds Berlin Hamburg Lyon Paris Madrid Sevilla Milano Porto Utrecht Gdansk Chicago Austin Lagos Osaka Izmir"
)
_STREETS = "Main Street,Station Road,Park Lane,Hauptstrasse,Gartenweg,Rue Victor Hugo,Calle Mayor,Via Roma,High Street"
_MONTHS = "January February March April May June July August September October November December"
_CARRIERS = "DHL DPD UPS GLS FedEx PostNord Hermes Chronopost"
_FREE = "gmail.com outlook.com yahoo.com hotmail.com gmx.net mail.ru proton.me aol.com"
_ENDINGS = "com net org de fr es it nl pl co.uk eu io shop info biz ru top xyz online site com.br in cn"
_WORDS = (
    "river table window garden letter number winter market paper music silver orange doctor village simple morning "
    "holiday kitchen bridge station animal machine forest season summer picture garage island bottle corner"
)
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_HEXADECIMAL = "0123456789abcdef"
_SLOT = re.compile(r"\{(\w+)\}")
_LINK = re.compile(r"https?://\S+")


class Template(msgspec.Struct, frozen=True):
    """One text with its choices and slots."""

    label: str
    """ham | spam"""
    kind: str
    language: str
    subject: str
    body: str


def templates() -> list[Template]:
    """All texts of `samples.txt`, in order."""
    source = resources.files("outbound_guard.content").joinpath("samples.txt").read_text("utf-8")
    found = []
    for block in re.split(r"^== ", source, flags=re.M)[1:]:
        head, _, rest = block.partition("\n")
        label, kind, language = head.split()
        subject, _, body = rest.strip("\n").partition("\n")
        found.append(Template(label, kind, language, subject, body))
    return found


def expand(text: str, rng: random.Random) -> str:
    """Decide the choices `[a|b]` of a text, innermost last; a bracket that is never closed stays as it is."""
    out: list[str] = []
    position = 0
    while True:
        start = text.find("[", position)
        if start < 0:
            return "".join([*out, text[position:]])
        out.append(text[position:start])
        depth, options, begin = 1, [], start + 1
        end = begin
        while end < len(text) and depth:
            letter = text[end]
            if letter == "[":
                depth += 1
            elif letter == "]":
                depth -= 1
            if (letter == "|" and depth == 1) or not depth:
                options.append(text[begin:end])
                begin = end + 1
            end += 1
        if depth:
            return "".join([*out, text[start:]])
        out.append(expand(rng.choice(options), rng))
        position = end


class _Scene:
    """Who writes to whom in one message; the same slot may be filled anew each time it occurs."""

    def __init__(self, rng: random.Random, spam: bool) -> None:
        self.rng = rng
        self.firm = f"{rng.choice(_FIRMS.split())} {rng.choice(_TRADES.split())}"
        ending = rng.choice(_ENDINGS.split()) if rng.random() < 0.6 else "example"
        self.domain = f"{self.firm.lower().replace(' ', rng.choice(('', '-')))}.{ending}"
        self.name = rng.choice(_FIRST.split()) if rng.random() < 0.6 else self.person()
        self.own = f"https://{rng.choice(('', 'www.', 'shop.', 'my.'))}{self.domain}"
        if rng.random() < 0.2:  # Mailing services put their own host into links.
            self.own = (
                f"https://click.{rng.choice(_WORDS.split())}mail.{rng.choice(('com', 'net', 'io'))}/{self.code(20)}"
            )
        words = [rng.choice(_WORDS.split()) for _ in range(2)]
        host = rng.choice(
            (f"{words[0]}{words[1]}", f"{words[0]}-{words[1]}-secure", self.code(9), f"{words[0]}{self.code(3)}")
        )
        self.evil = rng.choice(("http://", "https://")) + rng.choice(
            (
                f"{host}.{rng.choice(_ENDINGS.split())}",
                f"www.{host}.{rng.choice(_ENDINGS.split())}/wp-content/{self.code(6)}",
                f"{host}.example",
                f"{self.code(6)}.{host}.com",
                f"login-verify.{host}.{rng.choice(_ENDINGS.split())}",
                ".".join(str(rng.randint(1, 250)) for _ in range(4)),
            )
        )
        self.spam = spam

    def code(self, length: int = 16) -> str:
        letters = self.rng.choice((_LETTERS, _HEXADECIMAL, _LETTERS.upper()))
        return "".join(self.rng.choice(letters) for _ in range(length))

    def person(self) -> str:
        return f"{self.rng.choice(_FIRST.split())} {self.rng.choice(_LAST.split())}"

    def thing(self) -> str:
        return self.rng.choice(_THINGS.split(","))

    def amount(self) -> str:
        number = self.rng.choice((self.rng.uniform(1, 100), self.rng.uniform(20, 2000), self.rng.uniform(500, 90000)))
        digits = f"{number:,.2f}" if self.rng.random() < 0.7 else f"{number:.0f}"
        return self.rng.choice(
            (f"${digits}", f"{digits} EUR", f"€{digits}", f"{digits} €", f"£{digits}", f"USD {digits}")
        )

    def items(self) -> str:
        lines = [
            f"{self.rng.randint(1, 4)} x {self.thing()}{' ' * self.rng.randint(1, 12)}{self.amount()}"
            for _ in range(self.rng.randint(1, 4))
        ]
        return "\n".join(lines)

    def fill(self, match: re.Match[str]) -> str:
        rng = self.rng
        plain = {"firm": self.firm, "domain": self.domain, "name": self.name, "own": self.own, "evil": self.evil}
        slot = match[1]
        if slot in plain:
            return plain[slot]
        made: dict[str, Callable[[], str]] = {
            "no": lambda: (
                str(rng.randint(1000, 9999999))
                if rng.random() < 0.7
                else f"{self.code(3).upper()}-{rng.randint(99, 9999)}"
            ),
            "four": lambda: str(rng.randint(1000, 9999)),
            "few": lambda: str(rng.randint(2, 9)),
            "million": lambda: rng.choice(("1.5", "2.8", "4.5", "7.3", "10.5", "12", "25", "48.2")),
            "code": self.code,
            "person": self.person,
            "last": lambda: rng.choice(_LAST.split()),
            "user": lambda: rng.choice(_FIRST.split()).lower(),
            "host": lambda: f"{rng.choice(('web', 'srv', 'mail', 'db', 'node'))}{rng.randint(1, 40)}.{self.domain}",
            "ip": lambda: ".".join(str(rng.randint(1, 250)) for _ in range(4)),
            "amount": self.amount,
            "items": self.items,
            "product": self.thing,
            "city": lambda: rng.choice(_CITIES.split()),
            "street": lambda: f"{rng.choice(_STREETS.split(','))} {rng.randint(1, 200)}",
            "phone": lambda: f"+{rng.randint(1, 99)} {rng.randint(100, 999)} {rng.randint(100000, 9999999)}",
            "month": lambda: rng.choice(_MONTHS.split()),
            "carrier": lambda: rng.choice(_CARRIERS.split()),
            "date": lambda: rng.choice(
                (
                    f"{rng.randint(1, 28)} {rng.choice(_MONTHS.split())}",
                    f"{rng.randint(1, 28):02}.{rng.randint(1, 12):02}.2026",
                    f"2025-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
                    f"{rng.randint(1, 12)}/{rng.randint(1, 28)}/2025",
                )
            ),
            "time": lambda: f"{rng.randint(7, 20)}:{rng.choice(('00', '15', '30', '45'))}",
            "ownmail": lambda: f"{rng.choice(('info', 'service', 'support', 'office'))}@{self.domain}",
            "othermail": lambda: (
                f"{rng.choice(_FIRST.split()).lower()}{rng.randint(1, 99)}@{rng.choice(_FREE.split())}"
            ),
            "freemail": lambda: (
                f"{self.person().lower().replace(' ', '')}{rng.randint(1, 999)}@{rng.choice(_FREE.split())}"
            ),
        }
        return made[slot]() if slot in made else match[0]


def _dress(text: str, rng: random.Random, scene: _Scene, subject: str) -> str:
    """The text as HTML, in one of several manners."""
    button = rng.random() < 0.6
    said = rng.choice(("Open", "More", "View", "Continue", "Click here", subject[:40]))

    def anchor(match: re.Match[str]) -> str:
        target = html.escape(match[0], quote=True)
        shown = html.escape(said) if button else target
        look = rng.choice(("color:#1a73e8", "background:#0a7;color:#fff;padding:8px"))
        return f'<a href="{target}" style="{look}">{shown}</a>'

    manner = rng.randrange(4)
    paragraphs = []
    for paragraph in text.split("\n\n"):
        safe = "<br>\n".join(_LINK.sub(anchor, html.escape(line, quote=False)) for line in paragraph.split("\n"))
        paragraphs.append(safe)
    if manner == 0:
        return "<html><body>" + "".join(f"<p>{p}</p>\n" for p in paragraphs) + "</body></html>"
    if manner == 1:
        return '<div dir="ltr">' + "<br><br>\n".join(paragraphs) + "</div>"
    logo = (
        f'<img src="{scene.own if not scene.spam or rng.random() < 0.5 else scene.evil}/logo.png" width="120" alt="">'
    )
    preheader = (
        f'<div style="display:none;max-height:0">{html.escape(text[:90], quote=False)}</div>'
        if rng.random() < 0.4
        else ""
    )
    rows = "".join(
        f'<tr><td style="padding:12px 24px;font-family:Arial,sans-serif;font-size:14px;color:#333">{p}</td></tr>\n'
        for p in paragraphs
    )
    style = "<style>body{margin:0}.x{color:#333}@media(max-width:600px){td{width:100%}}</style>" if manner == 3 else ""
    return (
        f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{html.escape(subject)}</title>{style}</head>'
        f'<body style="background-color:#f4f4f4">{preheader}'
        f'<table width="600" align="center"><tr><td>{logo}</td></tr>\n{rows}'
        f"</table></body></html>"
    )


def compose(template: Template, rng: random.Random) -> bytes:
    """One message of a template, with CRLF line ends."""
    scene = _Scene(rng, template.label == "spam")
    subject = _SLOT.sub(scene.fill, expand(template.subject, rng)).strip()
    text = re.sub(r"\n{3,}", "\n\n", _SLOT.sub(scene.fill, expand(template.body, rng))).strip() + "\n"
    name = rng.choice((scene.firm, scene.person(), ""))
    local = rng.choice(("info", "noreply", "service", "office", "shop", scene.name.lower().replace(" ", ".")))
    head = [
        f"From: {name} <{local}@{scene.domain}>" if name else f"From: {local}@{scene.domain}",
        f"To: {scene.name} <{scene.name.lower().replace(' ', '.')}@{rng.choice(_FREE.split())}>",
        f"Subject: {subject}",
        "MIME-Version: 1.0",
    ]
    plain = f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{_crlf(text)}"
    page = _crlf(_dress(text, rng, scene, subject))
    web = f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{page}"
    dress = rng.random()
    if dress < 0.35:
        body = plain
    elif dress < 0.6:
        body = web
    else:
        mark = f"=_{scene.code(20)}"
        body = (
            f'Content-Type: multipart/alternative; boundary="{mark}"\r\n\r\n'
            f"--{mark}\r\n{plain}\r\n--{mark}\r\n{web}\r\n--{mark}--\r\n"
        )
    return ("\r\n".join(head) + "\r\n" + body).encode()


def _crlf(text: str) -> str:
    return text.replace("\n", "\r\n")
