"""What came of one message for each of its recipients: final, still tried, or not known. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outbound_guard.delivery.retry import recipients_left
from outbound_guard.ledger.message_queries import History, Row
from outbound_guard.spool import Entry, Progress, State, due_of

FINAL = ("delivered", "refused", "given_up", "returned", "deleted", "with_client")
"""Of a recipient: nothing more will be done for it here."""
QUEUED: tuple[State, ...] = ("incoming", "queue")
"""Of a message that is to be delivered."""


class Fate(msgspec.Struct, frozen=True):
    """What came of a message for one recipient."""

    recipient: str
    state: str
    """One of FINAL, or trying | held | quarantine | unknown."""
    final: bool
    text: str
    next: float = 0.0
    """When something will happen next (unix seconds); 0: nothing will by itself."""


class InSpool(msgspec.Struct, frozen=True):
    """What this machine's spool has of the message."""

    entry: Entry
    progress: Progress
    state: State


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """All that a story is told from."""

    id: str
    decision: Row | None
    """As `queries.decision_one` has it."""
    history: History
    spool: InSpool | None
    again: Sequence[Row]
    hold_expiry: float
    """Seconds a message may wait for a person."""


def fates(known: Known) -> list[Fate]:
    """What came of it for each recipient, in the order of the envelope."""
    # What a next hop has taken, the world may still refuse. Of what is not proven nothing is concluded.
    later = {
        row["recipient"].lower(): row
        for row in known.history.feedback
        if row["counts"] and row["final"] and row["kind"] != "complaint" and row["code"] >= 400
    }
    # By their time: the ledger hears of each process's answers in its own turn.
    last = {row["recipient"]: row for row in sorted(known.history.deliveries, key=lambda row: float(row["time"]))}
    if known.decision:
        recipients = known.decision["recipients"]
    elif known.spool:
        recipients = known.spool.entry.envelope.recipients
    else:
        recipients = list(last)
    found = [_fate(known, recipient, last.get(recipient)) for recipient in dict.fromkeys(recipients)]
    return [_bounced(fate, later.get(fate.recipient.lower())) for fate in found]


def _bounced(fate: Fate, row: Row | None) -> Fate:
    if row is None or fate.state not in ("delivered", "unknown"):
        return fate
    answer = " ".join(f"{row['code']} {row['enhanced']} {row['detail']}".split())
    return Fate(fate.recipient, "refused", True, f"taken by the next hop, and refused later: {answer}")


def _fate(known: Known, recipient: str, row: Row | None) -> Fate:
    answered = known.decision["answered"] if known.decision else ""
    if row and row["final"]:
        state = "delivered" if 200 <= row["code"] < 300 else "refused" if row["code"] >= 500 else "given_up"
        # Some answers are our own: there is no such domain, or a person has given it up.
        by = f" by {row['peer']}" if row["peer"] else ""
        words = {
            "delivered": f"taken by {row['peer'] or 'the next hop'}",
            "refused": f"refused for good{by}",
            "given_up": "given up",
        }
        return Fate(recipient, state, True, f"{words[state]}: {said(row)}")
    if known.spool:
        return _at_rest(known, known.spool, recipient, row)
    held = known.history.held
    if held:
        return _was_held(held, recipient)
    if answered.startswith("4"):
        return Fate(recipient, "with_client", True, f"not taken: the client keeps it and tries again ({answered})")
    if answered.startswith("5"):
        return Fate(recipient, "refused", True, f"refused to the client: {answered}")
    if row:
        text = f"was to be tried again, and is not in this machine's spool; the last answer was {said(row)}"
        return Fate(recipient, "unknown", False, text)
    if answered.startswith("2") and known.decision and _relayed(known.decision):
        return Fate(recipient, "delivered", True, f"taken by the next hop at once: {answered}")
    return Fate(recipient, "unknown", False, "nothing is known of what came of it")


def _at_rest(known: Known, spool: InSpool, recipient: str, row: Row | None) -> Fate:
    entry, progress, state = spool.entry, spool.progress, spool.state
    due = due_of(entry, progress)
    if recipient not in recipients_left(entry, progress):
        return Fate(recipient, "unknown", False, "is settled, and its result is not in the ledger yet")
    if state in QUEUED:
        tries = progress.attempts or entry.attempts
        last = f"; the last answer was {said(row)}" if row else ""
        return Fate(recipient, "trying", False, f"still tried, {counted(tries, 'try', 'tries')} so far{last}", due)
    if state == "quarantine":
        return Fate(recipient, "quarantine", False, "in quarantine until a person decides")
    if due:
        return Fate(recipient, "held", False, "held; it is judged anew by itself", due)
    return Fate(recipient, "held", False, "held for a person to decide", entry.received + known.hold_expiry)


def _was_held(held: Row, recipient: str) -> Fate:
    by = f" by {held['changed_by']}" if held["changed_by"] != "system" else ""
    reason = f" ({held['reason']})" if held["reason"] else ""
    match held["state"]:
        case "deleted":
            return Fate(recipient, "deleted", True, f"deleted{by}{reason}")
        case "returned" | "expired":
            return Fate(recipient, "returned", True, f"returned to its sender{by}{reason}")
        case "released":
            return Fate(recipient, "unknown", False, f"released{by}; no answer of a next hop is known yet")
        case "missing":
            return Fate(recipient, "unknown", False, "was held, and is no longer in the spool")
    return Fate(recipient, "unknown", False, f"{held['state']}, but not in this machine's spool")


def _relayed(decision: Row) -> bool:
    return bool(decision["action"] == "relay" or decision["mode"] == "observe")


def said(row: Row) -> str:
    """An answer of a next hop on one line."""
    words = (str(row["code"]), row["enhanced"], " ".join(row["text"].split()))
    return " ".join(word for word in words if word)


def counted(number: int, one: str, many: str) -> str:
    """A number with its word."""
    return f"{number} {one if number == 1 else many}"
