"""What happened to one message, told in order of time. Pure.

Texts name what strangers wrote (addresses, answers of servers): whoever shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec

from outbound_guard.actions import owns
from outbound_guard.delivery.bounce import may_bounce
from outbound_guard.delivery.retry import recipients_left
from outbound_guard.desk.messages.fates import QUEUED, Fate, Known, counted, said
from outbound_guard.ledger.message_queries import History, Row
from outbound_guard.mail import Sender
from outbound_guard.spool import due_of

_LATER = {
    "complaint": "Somebody complained",
    "bounce": "A report came back",
    "delivery": "A next hop's log has an answer",
}
_HERE = {"pending": "not done yet", "done": "done", "gone": "it was not held any more", "failed": "not done"}
"""What came of a decision about many for this message."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened, or is to happen."""

    time: float
    """Unix seconds."""
    kind: str
    """reception | judgement | answer | held | delivery | report | feedback | act | lesson | again | next (to come)"""
    text: str
    """A sentence."""
    fields: dict[str, Any] = {}


def events(known: Known) -> list[Event]:
    """Everything, in order of time; what is to come last."""
    told = [
        *_taken_in(known),
        *_held(known),
        *_deliveries(known.history),
        *_later(known.history),
        *_acts(known),
        *_again(known),
    ]
    # Sorting keeps what happened at the same moment in the order in which it is told above.
    return [*sorted(told, key=lambda event: event.time), *_to_come(known)]


def _taken_in(known: Known) -> Iterator[Event]:
    decision = known.decision
    if decision is None:
        if known.spool:
            entry = known.spool.entry
            fields = {"client_ip": entry.client_ip, "mail_from": entry.envelope.mail_from, "size": entry.size}
            text = f"Received from {entry.client_ip or 'our own bounces'} for {entry.sender or entry.account}."
            yield Event(entry.received, "reception", text, fields)
        return
    names = ("client_ip", "server", "source", "sender_kind", "mail_from", "message_id", "size", "recipients")
    to = counted(len(decision["recipients"]), "recipient", "recipients")
    server = f" (server {decision['server']})" if decision["server"] else ""
    yield Event(
        decision["received"],
        "reception",
        f"Received from {decision['client_ip'] or 'an unknown client'}{server}: {decision['size']} octets for {to}. "
        f"The sender is {decision['sender']} of account {decision['account']}, by the rule {decision['source']}.",
        {name: decision[name] for name in names},
    )
    because = f" ({decision['code']}: {decision['reason']})" if decision["reason"] else ""
    observed = decision["mode"] == "observe" and decision["action"] != "relay"
    yield Event(
        decision["received"],
        "judgement",
        f"Judged: score {decision['score']:.2f}, verdict {decision['action']}{because}."
        + " It was only observed: the message was relayed all the same." * observed,
        {name: decision[name] for name in ("score", "action", "code", "reason", "mode", "signals")},
    )
    if decision["answered"]:
        fields = {"answered": decision["answered"], "source_address": decision["source_address"]}
        yield Event(decision["received"], "answer", f"The client was answered {decision['answered']}.", fields)


def _held(known: Known) -> Iterator[Event]:
    held, decision = known.history.held, known.decision
    if held is None:
        return
    # What was relayed may have come to the desk from the queue, later.
    here = not decision or decision["action"] != "relay"
    if decision and here and decision["answered"].startswith("2"):
        where = "put into quarantine" if decision["action"] == "quarantine" else "held"
        yield Event(decision["received"], "held", f"It was {where}.", {"to": where})
    words = {
        "released": "Released",
        "deleted": "Deleted",
        "returned": "Returned to its sender",
        "expired": "Returned to its sender, since nobody decided in time",
        "quarantine": "Put into quarantine",
        "held": "Held on",
        "missing": "Found missing from the spool",
    }
    changes = known.history.changes or ((_as_change(held),) if held["changed"] > held["received"] else ())
    for row in changes:
        by = f" by {row['by']}" if row["by"] != "system" else ""
        reason = f": {row['reason']}" if row["reason"] else ""
        fields = {name: row[name] for name in ("to", "by", "reason", "due")}
        word = words.get(row["to"], row["to"]) if here or row["to"] != "held" else "Held"
        here = True
        yield Event(row["time"], "held", f"{word}{by}{reason}.", fields)


def _as_change(held: Row) -> Row:
    """The last change of a message that was held before each change was kept."""
    return {
        "time": held["changed"],
        "to": held["state"],
        "by": held["changed_by"],
        "reason": held["reason"],
        "due": held["due"],
    }


def _deliveries(history: History) -> Iterator[Event]:
    for row, recipients in _alike(history.deliveries):
        yield Event(row["time"], "delivery", f"{_try(row, _named(recipients))}.", _fields(row, recipients))
    for row, recipients in _alike(history.reports):
        text = f"The report about it: {_try(row, _named(recipients))}."
        yield Event(row["time"], "report", text, _fields(row, recipients) | {"report": row["id"]})


def _later(history: History) -> Iterator[Event]:
    names = ("kind", "class", "recipient", "code", "final", "peer", "source", "counts")
    for row in history.feedback:
        of = f" for {row['recipient']}" if row["recipient"] else ""
        answer = " ".join(f"{row['code'] or ''} {row['enhanced']} {row['detail']}".split())
        proven = "" if row["counts"] else ", which is not proven"
        text = f"{_LATER.get(row['kind'], row['kind'])}{of} ({row['class'] or 'no class'}{proven}): {answer}."
        yield Event(row["time"], "feedback", text, {name: row[name] for name in names})


def _alike(rows: Iterable[Row]) -> Iterator[tuple[Row, list[str]]]:
    """What several recipients were answered alike at one time is one event."""
    same = ("time", "code", "enhanced", "text", "peer", "final", "source_address", "id")
    for _, group in groupby(rows, key=lambda row: tuple(row[name] for name in same)):
        of = list(group)
        yield of[0], [row["recipient"] for row in of]


def _try(row: Row, to: str) -> str:
    if 200 <= row["code"] < 300:
        return f"{row['peer'] or 'The next hop'} took it for {to}: {said(row)}"
    if row["final"]:
        if row["code"] >= 500 and not row["peer"]:
            return f"It was refused for {to} for good: {said(row)}"
        if row["code"] >= 500:
            return f"{row['peer']} refused it for {to} for good: {said(row)}"
        return f"{to} was given up: {said(row)}"
    if not row["peer"]:
        return f"No next hop could be reached for {to}: {said(row)}"
    return f"{row['peer']} did not take it for {to} now: {said(row)}"


def _fields(row: Row, recipients: list[str]) -> dict[str, Any]:
    names = ("code", "enhanced", "text", "peer", "final", "source_address")
    return {name: row[name] for name in names} | {"recipients": recipients}


def _acts(known: Known) -> Iterator[Event]:
    told = {(row["time"], row["by"]) for row in known.history.changes}
    for row in known.history.audit:
        if (row["time"], row["by"]) not in told or not row["what"].startswith("held."):
            detail = f": {row['detail']}" if row["detail"] else ""
            fields = {name: row[name] for name in ("by", "what", "detail")}
            yield Event(row["time"], "act", f"{row['what']} by {row['by']}{detail}.", fields)
    for row in known.history.bulk:
        fields = {"bulk": row["id"], "act": row["act"], "by": row["by"], "state": row["state"], "here": row["here"]}
        detail = f" ({row['detail']})" if row["detail"] else ""
        many = counted(row["number"], "message", "messages")
        text = (
            f"Part of a decision by {row['by']} to {row['act']} {many}: {_HERE.get(row['here'], row['here'])}{detail}."
        )
        yield Event(row["time"], "act", "Undone. " * (row["state"] == "undone") + text, fields)
    for row in known.history.lessons:
        fields = {name: row[name] for name in ("signal", "change", "factor_from", "factor_to", "by", "finding")}
        text = f"The weight of {row['signal']} was {row['change']}: {row['factor_from']:.3f} to {row['factor_to']:.3f}."
        yield Event(row["time"], "lesson", text, fields)


def _again(known: Known) -> Iterator[Event]:
    received = known.decision["received"] if known.decision else 0.0
    for row in known.again:
        word = "came again" if row["received"] >= received else "had come before"
        text = f"The same message {word} as {row['id']}: verdict {row['action']}, answered {row['answered']}."
        yield Event(row["received"], "again", text, {"id": row["id"], "action": row["action"]})


def _to_come(known: Known) -> Iterator[Event]:
    if known.spool is None:
        return
    entry, progress, state = known.spool.entry, known.spool.progress, known.spool.state
    due = due_of(entry, progress)
    if state in QUEUED:
        left = recipients_left(entry, progress)
        yield Event(due, "next", f"It is tried again for {_named(left)}.", {"recipients": list(left)})
    elif state == "held" and due:
        yield Event(due, "next", "It is judged anew: it goes out, is held on, or is kept.")
    elif state == "held":
        end = "goes back to its sender" if may_bounce(entry) else "goes into quarantine"
        yield Event(entry.received + known.hold_expiry, "next", f"If nobody decides, it {end}.")


def notes(known: Known, told: Sequence[Fate], *, keep_days: int, alone: bool) -> list[str]:
    """What is not known, and why; and whether the sender is told of what failed.

    `keep_days`: how long decisions are kept. `alone`: no other machine's spool shares the ledger.
    """
    found = []
    if known.decision is None:
        found.append(f"What was decided about it is not known any more: decisions are kept for {keep_days} days.")
    elif known.decision["answered"].startswith("2"):
        failed = [fate for fate in told if fate.state in ("refused", "given_up")]
        if failed and not known.history.reports:
            found.append(_report_to(known.decision))
    if any(fate.state == "unknown" for fate in told) and not alone:
        found.append("Other machines share this ledger; only this machine's spool was looked at.")
    return found


def _report_to(decision: Row) -> str:
    sender = Sender(decision["account"], decision["sender"], decision["sender_kind"], decision["source"])
    if owns(sender, decision["mail_from"]):
        return f"A report about what failed goes to {decision['mail_from']}; no answer to it is known yet."
    return "No report about what failed is sent: MAIL FROM is empty, or the account does not own that address."


def _named(recipients: Sequence[str]) -> str:
    shown = ", ".join(recipients[:3])
    return shown if len(recipients) <= 3 else f"{shown} and {len(recipients) - 3} more"
