"""Notices come into the outbox, in the transaction that puts in what they tell of. May be done again without harm."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, case, select, update

from outbound_guard.ledger import tables
from outbound_guard.ledger.outbox_records import Notice, NoticeAct
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.prepared import Prepared, but_serial
from outbound_guard.ledger.records import CaseEvent, Decision, Standing
from outbound_guard.mail import domain_of

Row = dict[str, Any]

WINDOW = 3600.0
"""Seconds of one sender's held mail that are one notice: an account that turns bad has thousands of messages."""
SENDERS = 20
"""Senders of an account with their own notice in one hour; the others share one: scripts call themselves anything."""
_LONGEST_KEY = 200
_OF_CASES = {
    "opened": "case_opened",
    "reopened": "case_opened",
    "reminder": "case_step",
    "escalation": "case_step",
    "closed": "case_closed",
}
_json = msgspec.json.Encoder().encode


def notices(connection: Connection, records: Iterable[Notice]) -> None:
    """Put notices in; one whose key is there already is only counted."""
    rows: dict[str, Row] = {}
    for r in records:
        key = _short(r.key)
        row = rows.setdefault(key, _row(key, r))
        row["count"] += 1
        row["last"] = max(row["last"], r.time)
    if not rows:
        return
    _OUTBOX.run(connection, [tuple(row[name] for name in _OUTBOX.names) for row in rows.values()])


def _counted(statement: Any) -> Any:
    new, known = statement.excluded, tables.outbox.c
    return statement.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "count": known.count + new.count,
            "last": case((new.last > known.last, new.last), else_=known.last),
        },
    )


_OUTBOX = Prepared(tables.outbox, but_serial(tables.outbox), _counted)


def notice_acts(connection: Connection, records: list[NoticeAct]) -> None:
    """Try again, or give up, what people decided about; what went out with it shares its fate."""
    table = tables.outbox_sending
    for r in sorted(records, key=lambda record: record.time):
        for some in portions(r.ids):
            named = table.c.serial.in_(some)
            letters = connection.execute(select(table.c.letter).distinct().where(named, table.c.letter != ""))
            meant = (named | table.c.letter.in_(list(letters.scalars()))) & (table.c.tried <= r.time)
            if r.what == "retry":
                statement = update(table).where(meant, table.c.state != "sent")
                statement = statement.values(
                    state="waiting",
                    due=r.time,
                    attempts=0,
                    created=r.time,
                    expires=r.time + (table.c.expires - table.c.created),
                )
            else:
                statement = update(table).where(meant, table.c.state == "waiting")
                statement = statement.values(state="failed", answer="given up by a person")
            connection.execute(statement)


def of_standings(connection: Connection, records: list[Standing]) -> None:
    """Who was suspended, or resumed. Called before the records go in: what is in force already is no news."""
    wanted = sorted((r for r in records if r.change in ("suspended", "resumed")), key=lambda r: r.time)
    in_force = _suspensions(connection, [r.subject for r in wanted])
    wanted = [msgspec.structs.replace(r, account=_whose(connection, r)) for r in wanted]
    found: list[Notice] = []
    for r in wanted:
        change, time, until = in_force.get((r.scope, r.subject), ("", float("-inf"), 0.0))
        suspended = change == "suspended" and (not until or until > r.time)
        if time > r.time or suspended == (r.change == "suspended"):
            continue
        in_force[r.scope, r.subject] = (r.change, r.time, r.until)
        found.append(_standing(r, r.change))
        if r.change == "suspended" and r.until:
            # It ends by itself, which nobody records; whether it still holds until then is seen when its time has come.
            found.append(msgspec.structs.replace(_standing(r, "resumed"), key=_key("ended", r), due=r.until))
    notices(connection, found)


def of_decisions(connection: Connection, records: Iterable[Decision]) -> None:
    """Mail that is held or in quarantine, once an hour for each sender. All records are new to the ledger."""
    kept = [r for r in records if r.state in ("held", "quarantine")]
    known = _senders(connection, kept) if kept else {}
    found: list[Notice] = []
    for r in kept:
        senders = known.setdefault((_kind(r), r.account, int(r.received // WINDOW)), set())
        if r.sender not in senders and len(senders) >= SENDERS:
            # It names none of them, since it is about all of them.
            r = msgspec.structs.replace(r, sender="")
        senders.add(r.sender)
        found.append(_kept(r))
    notices(connection, found)


def of_case_events(connection: Connection, records: Iterable[CaseEvent]) -> None:
    """Cases that were opened or closed, or need a step."""
    notices(
        connection,
        [
            Notice(
                key=f"case:{r.id}",
                time=r.time,
                kind=_OF_CASES[r.what],
                subject=r.case,
                reason=r.text.partition("\n")[0],
                data={"what": r.what},
            )
            for r in records
            if r.what in _OF_CASES
        ],
    )


def of_listings(connection: Connection, rows: Iterable[Row]) -> None:
    """Rows of `listing_history`: what of ours is listed, and what no longer is."""
    kinds = {"listed": "address_listed", "clean": "address_clean"}
    notices(
        connection,
        [
            Notice(
                key=f"listing:{row['subject']}:{row['zone']}:{row['state']}:{row['time']!r}",
                time=row["time"],
                kind=kinds[row["state"]],
                subject=row["subject"],
                reason=row["reason"],
                data={"zone": row["zone"], "codes": row["codes"]},
            )
            for row in rows
            if row["state"] in kinds
        ],
    )


def _row(key: str, r: Notice) -> Row:
    return {
        "key": key,
        "time": r.time,
        "kind": r.kind,
        "account": r.account,
        "sender": r.sender,
        "subject": r.subject,
        "reason": r.reason,
        "data": _json(r.data).decode(),
        "to": r.to,
        "due": r.due,
        "count": 0,
        "last": r.time,
        "routed": False,
    }


def _standing(r: Standing, kind: str) -> Notice:
    return Notice(
        key=_key(r.change, r),
        time=r.time,
        kind=kind,
        account=r.subject if r.scope == "account" else r.account,
        sender=r.subject if r.scope == "sender" else "",
        reason=r.reason,
        data={"scope": r.scope, "until": r.until, "by": "machine" if r.by == "system" else "person"},
    )


def _key(what: str, r: Standing) -> str:
    return f"{what}:{r.scope}:{r.subject}:{r.time!r}"


_KINDS = ("held", "quarantined")


def _kind(r: Decision) -> str:
    return _KINDS[r.state != "held"]


def _senders(connection: Connection, records: list[Decision]) -> dict[tuple[str, str, int], set[str]]:
    """Who of the records' accounts has a notice in their hours: senders by (kind, account, hour)."""
    c = tables.outbox.c
    hours = [int(r.received // WINDOW) for r in records]
    accounts = list({r.account for r in records})
    found: dict[tuple[str, str, int], set[str]] = {}
    for some in portions(accounts):
        query = select(c.kind, c.account, c.time, c.sender).where(
            c.account.in_(some),
            c.kind.in_(_KINDS),
            c.time >= min(hours) * WINDOW,
            c.time < (max(hours) + 1) * WINDOW,
        )
        for kind, account, time, sender in connection.execute(query):
            found.setdefault((kind, account, int(time // WINDOW)), set()).add(sender)
    return found


def _kept(r: Decision) -> Notice:
    kind = _kind(r)
    return Notice(
        key=f"{kind}:{r.account}:{r.sender}:{int(r.received // WINDOW)}",
        time=r.received,
        kind=kind,
        account=r.account,
        sender=r.sender,
        subject=r.id,
        reason=r.reason,
        # Mail that is held for a time goes on by itself; the rest waits for a person.
        data={"code": r.code, "until": r.due},
    )


def _whose(connection: Connection, r: Standing) -> str:
    """The account of a standing; of a sender that nothing is known of, the directory's."""
    if r.account or r.scope == "account":
        return r.account
    table, sender = tables.sender_account, r.subject.lower()
    patterns = [sender] + ([f"*@{domain_of(sender)}"] if "@" in sender else [])
    found = dict(
        connection.execute(select(table.c.pattern, table.c.account).where(table.c.pattern.in_(patterns))).all()
    )
    return next((found[pattern] for pattern in patterns if pattern in found), "")


def _suspensions(connection: Connection, subjects: Sequence[str]) -> dict[tuple[str, str], tuple[str, float, float]]:
    """The last word on their suspension: (change, time, until) by (scope, subject)."""
    table = tables.standing
    found: dict[tuple[str, str], tuple[str, float, float]] = {}
    for some in portions(subjects):
        query = select(table.c.scope, table.c.subject, table.c.change, table.c.time, table.c.until)
        query = query.where(table.c.kind == "suspension", table.c.subject.in_(some))
        for scope, subject, change, time, until in connection.execute(query):
            found[scope, subject] = (change, time, until)
    return found


def _short(key: str) -> str:
    """A key that fits the column, whatever a sender calls itself."""
    if len(key) <= _LONGEST_KEY:
        return key
    kind = key.partition(":")[0][:32]
    return f"{kind}:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"
