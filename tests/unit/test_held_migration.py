"""A ledger from before: what lists of held mail show is filled in from the decisions."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config

from outbound_guard.ledger import held_queries, tables
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.held_queries import Search

_DECISION = {
    "received": 1000.0,
    "account": "example.org",
    "sender": "a@example.org",
    "sender_kind": "mailbox",
    "source": "sasl",
    "server": "",
    "client_ip": "",
    "recipients": json.dumps([f"p{number}@example.net" for number in range(30)]),
    "subject": "GRÖSSE 100%",
    "message_id": "",
    "size": 77,
    "action": "hold",
    "score": 6.5,
    "code": "",
    "reason": "",
    "mode": "enforce",
    "signals": json.dumps(
        [
            {"name": "rate", "weight": 1.0, "reason": "r"},
            {"name": "novelty", "weight": 4.0, "reason": "n"},
            {"name": "structure", "weight": 9.0, "reason": "s", "shadow": True},
            {"name": "from_address", "weight": -0.5, "reason": "f"},
        ]
    ),
    "answered": "",
}


def test_old_rows_are_filled_in(tmp_path: Path) -> None:
    ledger = Ledger(url_of("embedded", tmp_path), writer=True)
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    with ledger.connection() as connection:
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "0005")
    database = sqlite3.connect(tmp_path / "ledger.sqlite3")
    names = ", ".join(("id", "mail_from", *_DECISION))
    marks = ", ".join("?" * (len(_DECISION) + 2))
    for number in range(2100):
        mail_from = "a@example.org" if number % 2 else "x@elsewhere.example"
        database.execute(
            f"INSERT INTO decision ({names}) VALUES ({marks})", (f"m{number:04}", mail_from, *_DECISION.values())
        )
        database.execute(
            "INSERT INTO held VALUES (?, 1000, 'example.org', 'a@example.org', ?, 1000, 'system', '', 0)",
            (f"m{number:04}", "released" if number == 7 else "held"),
        )
    database.execute("INSERT INTO held VALUES ('alone', 1000, '', '', 'held', 1000, 'system', '', 0)")
    database.commit()
    database.close()

    ledger.migrate()
    assert held_queries.count(ledger, Search()) == 2100
    assert held_queries.count(ledger, Search(words="größe 100% P3@example.net")) == 2099
    assert held_queries.count(ledger, Search(words="p30@example.net")) == 0
    assert held_queries.count(ledger, Search(signal="novelty")) == 2099
    assert held_queries.count(ledger, Search(signal="structure")) == 0
    assert held_queries.count(ledger, Search(state="closed")) == 1
    row = held_queries.one(ledger, "m0009")
    assert row is not None
    assert (row.signals, row.recipient_count, len(row.recipients)) == (("novelty", "rate"), 30, 10)
    assert (row.score, row.size, row.returnable, row.text) == (6.5, 77, True, "")
    other, alone = held_queries.one(ledger, "m2098"), held_queries.one(ledger, "alone")
    assert other is not None
    assert not other.returnable
    assert alone is not None
    assert (alone.recipients, alone.subject) == ((), "")
    ledger.close()
