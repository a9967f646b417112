"""What the provider is there to stop: a stolen mailbox with a bought list, a broken-in script, a slow botnet, and one
text from many accounts. Each is a run of messages with the seconds between them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgspec

from outbound_guard.demo.provider import Provider, Sender
from outbound_guard.demo.writing import Mail, built, by_login, by_program, sentences

STOLEN, SCRIPT, BOTNET, SNOWSHOE = "stolen mailbox", "hacked PHP script", "slow botnet", "one text from many accounts"
HACKED = "wp-cache-x7.php"
TRAP = "trap"
"""How the local part of a spam trap begins."""
_VICTIMS = 8
"""Mailboxes that are used in one turn of all kinds of attack."""
_LISTED = ("bigmail.example", "freepost.example", "stadtnetz.test", "example.org")


class Attack(msgspec.Struct, frozen=True):
    """One attack: what it is called, how long it waits between two messages (seconds), and its messages."""

    name: str
    pause: float
    messages: int
    victims: tuple[str, ...]
    """The senders whose names are used, as the product calls them."""
    mail: Callable[[int, float], Mail]
    """Its message of this number, sent at this time (unix seconds)."""


def bought(draw: random.Random, first: bool = False) -> str:
    """An address of a bought list: most of them are gone, and some are traps."""
    if first or draw.random() < 0.08:
        # The first one at a receiver that looks at no texts: what gets through hits it.
        return f"{TRAP}.{draw.randrange(1000)}@{'freepost.example' if first else draw.choice(_LISTED)}"
    local = "gone" if draw.random() < 0.45 else "reader"
    return f"{local}.{draw.randrange(100_000)}@{draw.choice(_LISTED)}"


def attacks(provider: Provider, seed: int) -> Iterator[Attack]:
    """The attacks of a demo, without end: the four kinds in turn, each time with other victims."""
    draw = random.Random(f"attacks {seed}")  # noqa: S311 -- The same seed, the same attacks.
    offices, scripts = provider.of_kind("office"), provider.of_kind("orders") + provider.of_kind("form")
    draw.shuffle(offices)
    draw.shuffle(scripts)
    turn = 0
    while True:
        office = [offices[(turn * _VICTIMS + place) % len(offices)] for place in range(_VICTIMS)]
        yield stolen(office[0], draw)
        yield hacked(scripts[turn % len(scripts)], draw)
        yield snowshoe(office[2:], draw)
        yield botnet(office[1], draw)
        turn += 1


def stolen(victim: Sender, draw: random.Random, said: str = "mailbox") -> Attack:
    """Somebody has the password of a mailbox, and a list of addresses that was sold many times."""
    ip = f"192.0.2.{draw.randrange(10, 250)}"

    def mail(number: int, now: float) -> Mail:
        recipients = tuple(bought(draw, first=number == 0 and place == 0) for place in range(1 + draw.randrange(3)))
        return _spam(victim, draw, now, said, recipients, ip, STOLEN)

    return Attack(STOLEN, 0.7, 60, (victim.identity,), mail)


def botnet(victim: Sender, draw: random.Random) -> Attack:
    """The same password in many hands, each of which sends little."""

    def mail(number: int, now: float) -> Mail:
        ip = f"{draw.choice(('192.0.2', '198.51.100'))}.{draw.randrange(1, 255)}"
        return _spam(victim, draw, now, "botnet", (bought(draw),), ip, BOTNET)

    return Attack(BOTNET, 3.0, 25, (victim.identity,), mail)


def snowshoe(victims: list[Sender], draw: random.Random, said: str = "snowshoe") -> Attack:
    """One text, a message or two from each of many mailboxes: nobody sends much."""

    def mail(number: int, now: float) -> Mail:
        ip = f"198.51.100.{100 + number % 20}"
        recipients = tuple(bought(draw) for _ in range(2))
        return _spam(victims[number % len(victims)], draw, now, said, recipients, ip, SNOWSHOE)

    return Attack(SNOWSHOE, 1.0, 30, tuple(victim.identity for victim in victims), mail)


def hacked(victim: Sender, draw: random.Random) -> Attack:
    """Somebody has put a program of his own among the files of a web site."""
    name = f"{victim.server}/uid{victim.uid}:{HACKED}"

    def mail(number: int, now: float) -> Mail:
        said = sentences()["attacks"]["script"]
        to, amount = bought(draw), draw.randrange(100_000, 999_999)
        traces = by_program(draw, now, victim, HACKED) + (
            f"X-PHP-Script: www.{victim.account}/wp-content/uploads/{HACKED} for 192.0.2.{draw.randrange(1, 255)}\n"
        )
        from_ = f"Prize Office <office{amount % 97}@prize-draw.example>"
        content = built(draw, now, victim, to, said[0].format(amount), said[1].format(amount), traces, from_)
        return Mail(victim.server, f"www-data@{victim.account}", (to,), content, name, SCRIPT)

    return Attack(SCRIPT, 0.8, 60, (name,), mail)


def _spam(
    victim: Sender, draw: random.Random, now: float, said: str, recipients: tuple[str, ...], ip: str, name: str
) -> Mail:
    subject, text = sentences()["attacks"][said]
    number = draw.randrange(100, 99_999) if said != "snowshoe" else 80
    traces = by_login(draw, now, msgspec.structs.replace(victim, program=""), ip)
    spammer = msgspec.structs.replace(victim, program="")
    content = built(draw, now, spammer, recipients[0], subject.format(number), text.format(number), traces)
    return Mail(victim.server, victim.address, recipients, content, victim.identity, name)
