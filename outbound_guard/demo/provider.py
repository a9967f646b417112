"""The made-up hosting provider: its servers, its customers, and who among them sends mail to whom.

Everything is drawn from one seed, so that two demos with the same seed have the same customers. Names are in domains
that are reserved for examples (RFC 2606), addresses in networks for documentation (RFC 5737).
"""

from __future__ import annotations

import random
from typing import Literal

import msgspec

Kind = Literal["office", "orders", "newsletter", "form", "cron", "forwarder"]

PROVIDER = "hosting.example"
MAIL, WEB = ("mail1", "mail2"), ("web1", "web2")
"""Logins of the servers that hand mail in: those of mailboxes, and those of web sites."""

# Domain, name, language, number of mailboxes, what else it has.
_CUSTOMERS: tuple[tuple[str, str, str, int, tuple[Kind, ...]], ...] = (
    ("fern-studio.example", "Fern Studio Architects", "en", 6, ("form",)),
    ("kanzlei-brandt.example", "Kanzlei Brandt", "de", 5, ("forwarder",)),
    ("velo-laden.example", "Velo-Laden Seeburg", "de", 2, ("orders", "form")),
    ("trail-books.example", "Trail Books", "en", 3, ("newsletter", "orders")),
    ("moreau-pains.example", "Boulangerie Moreau", "fr", 3, ("orders",)),
    ("taller-ibarra.example", "Taller Ibarra", "es", 3, ("form",)),
    ("sakura-kogei.example", "桜工芸", "ja", 3, ("orders",)),
    ("drukarnia-lis.example", "Drukarnia Lis", "pl", 4, ("cron",)),
    ("casa-volpi.example", "Casa Volpi", "it", 3, ("form",)),
    ("riverside-club.example", "Riverside Rowing Club", "en", 2, ("newsletter", "forwarder")),
    ("gartenfreunde.example", "Gartenfreunde Nord", "de", 2, ("newsletter", "form")),
    ("lumen-agency.example", "Lumen Agency", "en", 7, ("cron",)),
    ("atelier-roux.example", "Atelier Roux", "fr", 3, ("cron",)),
    ("hafen-hotel.example", "Hafenhotel Adler", "de", 4, ("orders",)),
    ("northwind-tools.example", "Northwind Tools", "en", 5, ("orders", "cron")),
    ("libreria-sol.example", "Librería Sol", "es", 2, ("newsletter",)),
)
_NAMES = {
    "en": ("alice", "ben", "clara", "daniel", "emma", "frank", "grace"),
    "de": ("anna", "jonas", "lena", "markus", "petra", "stefan", "ute"),
    "fr": ("camille", "hugo", "jeanne", "luc", "margot"),
    "es": ("carmen", "diego", "elena", "javier", "lucia"),
    "it": ("chiara", "enzo", "giulia", "marco", "paola"),
    "pl": ("agata", "jan", "kasia", "piotr", "zofia"),
    "ja": ("aiko", "haruto", "kenji", "yuki", "naomi"),
}
RECEIVERS = (
    "bigmail.example",
    "freepost.example",
    "office-cloud.example",
    "stadtnetz.test",
    "example.org",
    "example.com",
)
"""Where most recipients have their mailboxes."""


class Sender(msgspec.Struct, frozen=True):
    """A mailbox, script or program of a customer that sends mail as long as it is itself."""

    account: str
    language: str
    kind: Kind
    address: str
    """Its address, which it writes in From."""
    name: str
    server: str
    """The login of the server that hands its mail in."""
    client_ip: str
    uid: int
    """The system user of the customer's web site."""
    correspondents: tuple[str, ...]
    """Those it writes to again and again."""
    weight: float
    """Its share of the traffic."""
    program: str
    """Its mail program."""

    @property
    def identity(self) -> str:
        """What the product calls it."""
        if self.kind in ("office", "newsletter"):
            return self.address
        if self.kind == "forwarder":
            return f"{self.server}/forwarder:{self.address}"
        return f"{self.server}/uid{self.uid}" + (f":{SCRIPTS[self.kind]}" if self.kind in SCRIPTS else "")


SCRIPTS = {"orders": "order-mail.php", "form": "contact.php"}


class Customer(msgspec.Struct, frozen=True):
    """One account of the provider."""

    account: str
    name: str
    uid: int
    server: str
    """Its web server."""

    @property
    def senders(self) -> tuple[str, ...]:
        """The patterns of senders that belong to it, besides its domain."""
        user = f"{self.server}/uid{self.uid}"
        return (f"*@{self.account}", user, f"{user}:*", f"*/forwarder:*@{self.account}")


class Provider(msgspec.Struct, frozen=True):
    """All customers, and all senders."""

    customers: tuple[Customer, ...]
    senders: tuple[Sender, ...]

    def of_kind(self, kind: Kind) -> list[Sender]:
        """The senders of a kind."""
        return [sender for sender in self.senders if sender.kind == kind]


def provider(seed: int) -> Provider:
    """The provider of a seed."""
    draw = random.Random(f"provider {seed}")  # noqa: S311 -- The same seed must give the same provider.
    customers, senders = [], []
    for number, (account, name, language, mailboxes, more) in enumerate(_CUSTOMERS):
        customer = Customer(account, name, 1001 + number, WEB[number % len(WEB)])
        customers.append(customer)
        network = f"203.0.113.{4 + 8 * number}"
        for place, person in enumerate(_NAMES[language][:mailboxes]):
            senders.append(_sender(customer, language, "office", person, place, network, draw))
        senders += [_sender(customer, language, kind, _LOCAL[kind], 0, network, draw) for kind in more]
    return Provider(tuple(customers), tuple(senders))


_LOCAL: dict[Kind, str] = {"orders": "shop", "newsletter": "news", "form": "www", "cron": "root", "forwarder": "info"}
_WEIGHT: dict[Kind, float] = {
    "office": 1.0,
    "orders": 4.0,
    "newsletter": 0.6,
    "form": 0.8,
    "cron": 0.8,
    "forwarder": 1.5,
}
_PROGRAMS = ("Mozilla Thunderbird", "Apple Mail (2.3774.600.62)", "Microsoft Outlook 16.0", "Roundcube Webmail/1.6.6")


def _sender(
    customer: Customer, language: str, kind: Kind, local: str, place: int, network: str, draw: random.Random
) -> Sender:
    mailbox = kind in ("office", "newsletter", "forwarder")
    head, _, last = network.rpartition(".")
    return Sender(
        account=customer.account,
        language=language,
        kind=kind,
        address=f"{local}@{customer.account}",
        name=local.title() if kind == "office" else customer.name,
        server=MAIL[customer.uid % len(MAIL)] if mailbox else customer.server,
        client_ip=f"{head}.{int(last) + place % 4}",
        uid=customer.uid,
        correspondents=tuple(correspondent(draw, language) for _ in range(_KNOWN.get(kind, 12))),
        weight=_WEIGHT[kind] * draw.uniform(0.6, 1.4),
        program=_PROGRAMS[draw.randrange(len(_PROGRAMS))] if kind == "office" else "",
    )


_KNOWN: dict[Kind, int] = {"newsletter": 60, "form": 1, "cron": 1, "forwarder": 2, "orders": 40}
"""How many correspondents a sender has; a mailbox has twelve."""


def correspondent(draw: random.Random, language: str) -> str:
    """An address of somebody in the world that exists."""
    name = draw.choice(_NAMES[language])
    return f"{name}.{draw.randrange(100, 1000)}@{draw.choice(RECEIVERS)}"
