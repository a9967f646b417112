"""A data directory as a large installation has it after a month: what the pages of the console are measured on.

100,000 messages are held, one account with 20,000 and one campaign with 30,000 of them, and 2 million were decided on.
Everything goes in as the scribe puts it in (`storing.store`), so that every table has what it would have; only the
indexes are made at the end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from alembic import command
from alembic.config import Config as AlembicConfig

from outbound_guard import durable
from outbound_guard.ledger import storing, tables
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.records import AccountEntry, Audit, Decision, Delivered, HeldChange, Record, Standing
from outbound_guard.mail import Envelope, Signal
from outbound_guard.spool import Entry
from outbound_guard.spool.entry import encode_entry

DAY = 86400.0
_PORTION = 20_000
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SUBJECTS = (
    "Invoice {0}",
    "Your order {0} has been shipped",
    "Meeting on Thursday",
    "Re: offer for {0} pieces",
    "Newsletter {0}",
    "Password reset",
    "Größe und Farbe der Bestellung {0}",
    "ご注文の確認 {0}",
    "Last chance: {0} % off everything",
    "You have a new message",
    "Fwd: photographs of the summer",
    "Urgent: your mailbox is full ({0})",
)
_REASONS = {
    "novelty": "9 of 10 recipients are new, usually 10 %",
    "rate": "80 messages in an hour, usually 3",
    "content": "reads like spam: winner, transfer, urgent",
    "campaign": "the same text came from 14 senders in an hour",
    "from_address": "the From is not its own",
    "recipients": "48 recipients, usually 2",
    "structure": "HTML alone, and no text beside it",
    "refusals": "12 of 30 recipients do not exist",
    "clients": "from a network that was never seen before",
}


class Size(msgspec.Struct, frozen=True):
    """How much is made."""

    decisions: int = 2_000_000
    held: int = 100_000
    accounts: int = 5_000
    senders: int = 20_000
    days: int = 30
    one_account: int = 20_000
    """Held messages of a single account."""
    one_campaign: int = 30_000
    """Held messages with one text, of many accounts."""
    spooled: int = 0
    """So many of the held messages, the newest, have a file in the spool."""


class _World:
    """Who sends, and what."""

    def __init__(self, size: Size, draw: random.Random) -> None:
        self.accounts = [f"customer-{number:04}.example" for number in range(size.accounts)]
        self.senders: list[tuple[str, str, str]] = []
        """Sender, kind and account."""
        for number in range(size.senders):
            place = number if number < size.accounts else int(size.accounts * draw.random() ** 2)
            account = self.accounts[place % size.accounts]
            if number % 5 == 4:
                self.senders.append((f"web{place % 40}/{1000 + place}:form-{number}.php", "script", account))
            else:
                self.senders.append((f"mailbox{number}@{account}", "mailbox", account))
        self.texts = [f"{draw.getrandbits(64):016x}" for _ in range(5000)]
        self.busy = [sender for sender in self.senders if sender[2] == self.accounts[7]] or [self.senders[0]]
        self.signals = [_signals(draw) for _ in range(500)]
        self.signals.sort(key=_score)


def make(directory: Path, size: Size, now: float, said: Callable[[str], None]) -> None:
    """Make a ledger (and a spool, if asked for) in `directory`, which must have none; `now` in unix seconds."""
    draw = random.Random(20)
    ledger = Ledger(url_of("embedded", directory), writer=True)
    with ledger.connection() as connection:
        tables.metadata.create_all(connection)
        alembic = AlembicConfig()
        place = Path(tables.__file__).parent / "migrations"
        alembic.set_main_option("script_location", str(place).replace("%", "%%"))
        alembic.attributes["connection"] = connection
        command.stamp(alembic, "head")
    # One writes a million rows in order faster than into the middle of ten indexes.
    indexes = [
        index
        for table in tables.metadata.sorted_tables
        for index in table.indexes
        if table.name in ("decision", "recipient", "delivery", "held", "held_change")
    ]
    with ledger.connection() as connection:
        for index in indexes:
            index.drop(connection)
    world = _World(size, draw)
    begun = time.monotonic()
    portion: list[Record] = list(_people(world, size, draw, now))
    kept: list[Decision] = []
    for number, decided in enumerate(_decisions(world, size, draw, now)):
        portion += decided
        record = decided[0]
        if size.spooled and isinstance(record, Decision) and record.state and len(decided) == 1:
            kept.append(record)
        if len(portion) >= _PORTION:
            with ledger.connection() as connection:
                storing.store(connection, portion)
            portion = []
            if number % 200_000 < _PORTION // 2:
                said(f"{number} decisions after {time.monotonic() - begun:.0f} s")
    with ledger.connection() as connection:
        storing.store(connection, portion)
    for index in indexes:
        said(f"index {index.name} after {time.monotonic() - begun:.0f} s")
        with ledger.connection() as connection:
            index.create(connection)
    ledger.close()
    _spool(directory, kept[-size.spooled :] if size.spooled else [])
    said(f"made in {time.monotonic() - begun:.0f} s")


def traffic(size: Size, now: float, seed: int = 20) -> Iterator[list[Record]]:
    """The same messages alone, in the order of time: each decision with what became of it; `now` in unix seconds."""
    draw = random.Random(seed)
    return _decisions(_World(size, draw), size, draw, now)


def _decisions(world: _World, size: Size, draw: random.Random, now: float) -> Iterator[list[Record]]:
    """What happened, in the order of time: each decision with what became of it."""
    start, step = now - size.days * DAY, size.days * DAY / size.decisions
    # What is held lies in the last week, since no hold lasts longer; some quarantine is older.
    week = int(size.decisions * max(0.0, 1 - 7 / size.days))
    recent = set(draw.sample(range(week, size.decisions), int(size.held * 0.9)))
    held = recent | set(draw.sample(range(week), size.held - len(recent)))
    order = [*["account"] * size.one_account, *["campaign"] * size.one_campaign]
    order += [""] * (size.held - len(order))
    draw.shuffle(order)
    kinds = dict(zip(sorted(held), order, strict=True))
    others = max(0.0, (0.12 * size.decisions - size.held) / (size.decisions - size.held))
    for number in range(size.decisions):
        received = start + number * step
        if number in kinds:
            yield _held(world, draw, received, kinds[number])
        elif draw.random() < others:
            yield _not_relayed(world, draw, received)
        else:
            yield _relayed(world, draw, received)


def _held(world: _World, draw: random.Random, received: float, kind: str) -> list[Record]:
    sender = draw.choice(world.busy) if kind == "account" else _sender(world, draw)
    text = world.texts[0] if kind == "campaign" else world.texts[1 + int(4000 * draw.random() ** 3)]
    signals = world.signals[250 + int(250 * draw.random())]
    quarantine = _score(signals) >= 8
    record = _decision(
        world,
        draw,
        received,
        sender,
        "quarantine" if quarantine else "hold",
        text,
        signals,
        state="quarantine" if quarantine else "held",
        answered="250 2.0.0 Ok: held for review",
        # What were due by now would drain while the product runs.
        due=0.0 if draw.random() < 0.7 else received + 40 * DAY,
        subject="Last chance: 70 % off everything" if kind == "campaign" else None,
    )
    return [record]


def _not_relayed(world: _World, draw: random.Random, received: float) -> list[Record]:
    action = draw.choice(("hold", "hold", "defer", "defer", "reject"))
    text = world.texts[int(5000 * draw.random())]
    signals = world.signals[150 + int(350 * draw.random())]
    state = "held" if action == "hold" else ""
    record = _decision(world, draw, received, _sender(world, draw), action, text, signals, state=state)
    if not state:
        return [record]
    to = draw.choice(("released", "released", "deleted", "returned", "expired"))
    by = draw.choice(("system", "console:anna", "console:ben", "cli:root"))
    return [record, HeldChange(id=record.id, time=received + 3600 * draw.random(), to=to, by=by, reason="seen")]


def _relayed(world: _World, draw: random.Random, received: float) -> list[Record]:
    text = world.texts[int(5000 * draw.random() ** 2)] if draw.random() < 0.4 else f"{draw.getrandbits(64):016x}"
    signals = world.signals[int(300 * draw.random())]
    record = _decision(
        world, draw, received, _sender(world, draw), "relay", text, signals, answered="250 2.0.0 Ok: queued as 7F2A"
    )
    if draw.random() >= 0.4:
        return [record]
    refused = draw.random() < 0.05
    return [
        record,
        *[
            Delivered(
                id=record.id,
                time=received + 1,
                recipient=recipient,
                code=550 if refused else 250,
                enhanced="5.1.1" if refused else "2.0.0",
                text="no such user here" if refused else "Ok: queued",
                peer="192.0.2.25:25",
                source_address="198.51.100.7",
            )
            for recipient in record.recipients
        ],
    ]


def _decision(
    world: _World,
    draw: random.Random,
    received: float,
    sender: tuple[str, str, str],
    action: str,
    text: str,
    signals: tuple[Signal, ...],
    *,
    state: str = "",
    answered: str = "",
    due: float = 0.0,
    subject: str | None = None,
) -> Decision:
    name, kind, account = sender
    number = draw.getrandbits(20)
    to = tuple(
        f"person{draw.getrandbits(19)}@domain{draw.getrandbits(12)}.example" for _ in range(1 + (number % 7 == 0))
    )
    return Decision(
        id=_id(received, draw),
        received=received,
        account=account,
        sender=name,
        action=action,
        score=_score(signals),
        code="OG-SCORE" if action != "relay" else "clean",
        reason="what speaks against it outweighs the rest" if action != "relay" else "",
        signals=signals,
        sender_kind=kind,
        source="header:X-AuthUser",
        server=f"web{number % 40}",
        client_ip=f"198.51.100.{number % 250}",
        mail_from=name if kind == "mailbox" else f"www@{account}",
        recipients=to,
        subject=subject or _SUBJECTS[number % len(_SUBJECTS)].format(number),
        message_id=f"<{number}.{int(received)}@{account}>",
        size=1000 + number % 60_000,
        state=state,
        due=due,
        answered=answered,
        source_address="198.51.100.7" if action == "relay" else "",
        text=text,
    )


def _people(world: _World, size: Size, draw: random.Random, now: float) -> Iterator[Record]:
    """The directory, what people decided about accounts, and what they did."""
    start = now - size.days * DAY
    for account in world.accounts:
        yield AccountEntry(
            time=start, account=account, name=f"{account.partition('.')[0].title()} Ltd", contact=f"owner@{account}"
        )
    for number in range(min(500, size.accounts)):
        account = draw.choice(world.accounts)
        change = ("suspended", "resumed", "limited", "exempted")[number % 4]
        time_ = start + draw.random() * size.days * DAY
        yield Standing(time=time_, scope="account", subject=account, change=change, by="console:anna", reason="a test")
    for _ in range(max(1, size.decisions // 100)):
        time_ = start + draw.random() * size.days * DAY
        who = draw.choice(("console:anna", "console:ben", "system"))
        yield Audit(time=time_, by=who, what="held.release", subject=_id(time_, draw), detail="the customer called")


def _sender(world: _World, draw: random.Random) -> tuple[str, str, str]:
    """Few send much, many send little."""
    return world.senders[int(len(world.senders) * draw.random() ** 2.5)]


def _signals(draw: random.Random) -> tuple[Signal, ...]:
    names = draw.sample(sorted(_REASONS), draw.randint(1, 5))
    against = [Signal(name, round(draw.uniform(-0.8, 3.2), 2), _REASONS[name], volume=name == "rate") for name in names]
    return (*against, Signal("traits", 0.4, "on trial", shadow=True))


def _score(signals: tuple[Signal, ...]) -> float:
    return sum(signal.weight for signal in signals if not signal.shadow)


def _id(received: float, draw: random.Random) -> str:
    """As mail.new_id makes them, but the same in every run."""
    number = (int(received * 1000) << 32) | draw.getrandbits(32)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))


def _spool(directory: Path, records: list[Decision]) -> None:
    spool = directory / "spool"
    durable.make_directories(
        *(spool / state for state in ("incoming", "queue", "held", "quarantine", "tmp", "progress"))
    )
    for record in records:
        content = (
            f"From: <{record.mail_from}>\r\nTo: <{record.recipients[0]}>\r\nSubject: {record.subject}\r\n"
            f"Message-ID: {record.message_id}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            "Good day,\r\n\r\nwe have what you have always wanted.\r\n"
        ).encode()
        entry = Entry(
            id=record.id,
            received=record.received,
            envelope=Envelope(record.mail_from, record.recipients),
            account=record.account,
            sender=record.sender,
            subject=record.subject,
            action=record.action,
            score=record.score,
            code=record.code,
            size=len(content),
            due=record.due,
            bounce_to=record.mail_from if "@" in record.sender else "",
            meta={"kind": record.sender_kind, "fingerprint": record.text},
        )
        # Nothing here is worth an fsync.
        durable.write(spool / record.state / record.id, (encode_entry(entry), content), sync=False)
