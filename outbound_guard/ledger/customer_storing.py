"""Customers' links and answers become rows. Everything here may be done again, and in any order, without harm."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, func, update

from outbound_guard.ledger.customer_tables import customer_answer, customer_link, customer_release
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.records import CustomerAnswer, CustomerLink, CustomerOffence, CustomerRelease
from outbound_guard.ledger.schema import upsert


def customer_links(connection: Connection, records: list[CustomerLink]) -> None:
    """Put links in, and revoke them. Raises what the database raises; the caller rolls back."""
    for record in records:
        statement = upsert(connection, customer_link)
        row: dict[str, Any] = {
            "id": record.id,
            "account": record.account,
            "time": record.time,
            "by": record.by,
            "hash": record.hash,
            "contact": record.contact,
            "expires": record.expires,
        }
        if record.what == "made":
            changed = {name: statement.excluded[name] for name in row if name != "id"}
            statement = statement.values(**row, revoked=0.0, opened=0, last_opened=0.0)
            # Revoked before it was known: it stays revoked.
            where = customer_link.c.hash == ""
        else:
            changed = {"revoked": statement.excluded.revoked}
            unknown = row | {"hash": "", "expires": 0.0}
            statement = statement.values(**unknown, revoked=record.time, opened=0, last_opened=0.0)
            where = customer_link.c.revoked == 0
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed, where=where))


def customer_answers(connection: Connection, records: list[CustomerAnswer]) -> None:
    """Keep the latest answer of each link and sender. Raises what the database raises."""
    statement = upsert(connection, customer_answer)
    names = ("account", "time", "answer", "messages", "bulk")
    statement = statement.on_conflict_do_update(
        index_elements=["link", "sender"],
        set_={name: statement.excluded[name] for name in names},
        where=customer_answer.c.time <= statement.excluded.time,
    )
    connection.execute(
        statement,
        [
            {"link": r.link, "sender": r.sender, "offended": 0.0, "offence": ""}
            | {name: getattr(r, name) for name in names}
            for r in records
        ],
    )


def customer_offences(connection: Connection, records: list[CustomerOffence]) -> None:
    """Mark answers after which a sender offended; the first offence stays. Raises what the database raises."""
    table = customer_answer
    which = (table.c.link == bindparam("of")) & (table.c.sender == bindparam("whose")) & (table.c.offended == 0)
    connection.execute(
        update(table).where(which).values(offended=bindparam("at"), offence=bindparam("said")),
        [{"of": r.link, "whose": r.sender, "at": r.time, "said": r.what} for r in records],
    )


def customer_releases(connection: Connection, records: list[CustomerRelease]) -> None:
    """Keep the last word on each account. Raises what the database raises."""
    statement = upsert(connection, customer_release)
    names = ("account", "time", "change", "by", "reason")
    statement = statement.on_conflict_do_update(
        index_elements=["account"],
        set_={name: statement.excluded[name] for name in names[1:]},
        where=customer_release.c.time <= statement.excluded.time,
    )
    connection.execute(statement, [{name: getattr(r, name) for name in names} for r in records])


def link_opened(ledger: Ledger, id_: str, now: float) -> None:
    """Count that a link was opened: written by the console process, as sessions are. Sync. Raises LedgerError."""
    table = customer_link
    with ledger.connection(turn=False) as connection:
        connection.execute(
            update(table).where(table.c.id == id_).values(opened=func.coalesce(table.c.opened, 0) + 1, last_opened=now)
        )
