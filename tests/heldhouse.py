"""Held mail as the relays leave it, by the thousand and without the relays: files in the spool, records in the journal.

fill(product.data, [held(received=now - 60, subject="Hello")])      # before the product is started
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from outbound_guard import durable
from outbound_guard.clock import SystemClock
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Decision
from outbound_guard.mail import Envelope, Signal, new_id
from outbound_guard.spool import Entry
from outbound_guard.spool.entry import encode_entry
from outbound_guard.spool.files import STATES

TEXT = 0xA1B2C3D4E5F60718
SIGNALS = (
    Signal("novelty", 4.25, "9 of 10 recipients are new, usually 10 %"),
    Signal("rate", 2.5, "80 messages in an hour, usually 3", volume=True),
    Signal("structure", 1.0, "HTML alone", shadow=True),
    Signal("from_address", -0.5, "the From is its own"),
)


def held(received: float, **other: Any) -> tuple[Decision, bytes]:
    """A message that waits for a person; `other` replaces fields of its decision."""
    fields: dict[str, Any] = {
        "id": new_id(received),
        "received": received,
        "account": "shop.test",
        "sender": "anna@shop.test",
        "action": "hold",
        "score": sum(signal.weight for signal in SIGNALS if not signal.shadow),
        "code": "novelty",
        "reason": "many new recipients",
        "signals": SIGNALS,
        "sender_kind": "mailbox",
        "source": "sasl",
        "client_ip": "192.0.2.7",
        "mail_from": "anna@shop.test",
        "recipients": ("someone@there.test",),
        "subject": "Last chance",
        "state": "held",
        "text": f"{TEXT:016x}",
    }
    record = Decision(**fields | other)
    content = f"From: <{record.mail_from}>\r\nSubject: test {record.id}\r\n\r\nText of {record.id}\r\n".encode()
    return record, content


def fill(data: Path, messages: Iterable[tuple[Decision, bytes]]) -> list[str]:
    """Put messages where the product finds them; their ids, in order. The product must not run."""
    spool = data / "spool"
    durable.make_directories(*(spool / state for state in STATES), spool / "tmp", spool / "progress")
    journal = Journal(data / "journal", "relay-9", SystemClock())
    ids = []
    for record, content in messages:
        owned = record.mail_from.rpartition("@")[2] == record.account
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
            bounce_to=record.mail_from if owned else "",
            meta={"kind": record.sender_kind, "fingerprint": record.text},
        )
        durable.write(spool / record.state / record.id, (encode_entry(entry), content), sync=False)
        journal.append(record)
        ids.append(record.id)
    journal.close()
    return ids
