"""From what a next hop calls a message to what we call it: by the queue id that it answered, else by the Message-ID."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

import msgspec

from outbound_guard.feedback.report import Fate
from outbound_guard.ledger import feedback_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.feedback_queries import Message

KEPT = 200_000
"""Queue ids that are known at a time, the newest; some 30 MB."""
DAYS = 5.0
"""Days that a next hop keeps a message at most (Postfix: maximal_queue_lifetime)."""
_AT_ONCE = 20_000
_OVERLAP = 5.0
"""Seconds: processes write their records down at different times."""
_QUEUED = re.compile(r"(?:queued as |\bids?=)([0-9A-Za-z][0-9A-Za-z.-]{4,63})")
"""Postfix and its kind; Exim and KumoMTA."""


class Result(msgspec.Struct, frozen=True):
    """What a next hop's log or record says of one recipient."""

    queue_id: str
    fate: Fate
    time: float = 0.0
    """Unix seconds; 0: not known."""
    message_id: str = ""
    """Without angle brackets; empty if it is not known."""
    passed_on: str = ""
    """The queue id under which the next hop took it in again, from a filter of its own."""
    token: str = ""
    """Our token, where the record has it."""


class QueueIds:
    """Knows under which queue ids next hops have taken our messages. Its functions may run in a thread."""

    def __init__(self, ledger: Ledger, kept: int = KEPT) -> None:
        self._ledger, self._kept = ledger, kept
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._received = 0.0
        self._serial = -1
        # The logs that are followed, and who hands records in, have threads of their own.
        self._one = threading.Lock()

    def refresh(self, now: float) -> None:
        """Take in what next hops have answered since the last time; `now` in unix seconds. Raises LedgerError."""
        with self._one:
            self._refresh(now)

    def _refresh(self, now: float) -> None:
        if self._serial < 0:
            self._serial = max(0, feedback_queries.newest_delivery(self._ledger) - self._kept)
            for time, id_, answered in feedback_queries.newest_answers(self._ledger, now - DAYS * 86_400.0, self._kept):
                self._keep(answered, id_)
                self._received = time
        while True:
            answers = feedback_queries.answers_since(self._ledger, self._received - _OVERLAP, _AT_ONCE)
            for _, id_, answered in answers:
                self._keep(answered, id_)
            newest = answers[-1][0] if answers else self._received
            if len(answers) < _AT_ONCE or newest <= self._received:
                self._received = max(self._received, newest)
                break
            self._received = newest + _OVERLAP
        while later := feedback_queries.deliveries_after(self._ledger, self._serial, _AT_ONCE):
            for serial, id_, text in later:
                self._keep(text, id_)
                self._serial = serial

    def alias(self, queue_id: str, passed_on: str) -> None:
        """The next hop has taken a message in again, under another id."""
        if (id_ := self._ids.get(queue_id)) is not None:
            self._put(passed_on, id_)

    def find(self, result: Result) -> tuple[Message, str] | None:
        """Our message, and how it was found; None if it is none of ours. Raises LedgerError.

        Queue ids come again, so the recipient must be one of the message's.
        """
        id_ = self._ids.get(result.queue_id)
        if id_ is not None:
            for message in feedback_queries.by_ids(self._ledger, [id_]):
                if _concerns(message, result.fate):
                    return message, "queue_id"
        if result.message_id:
            since = result.time - DAYS * 86_400.0
            for message in feedback_queries.by_message_id(self._ledger, result.message_id, since):
                if _concerns(message, result.fate):
                    return message, "message_id"
        return None

    def _keep(self, answer: str, id_: str) -> None:
        for found in _QUEUED.finditer(answer[:2000]):
            self._put(found[1].rstrip("."), id_)

    def _put(self, queue_id: str, id_: str) -> None:
        self._ids.pop(queue_id, None)
        self._ids[queue_id] = id_
        while len(self._ids) > self._kept:
            self._ids.popitem(last=False)


def _concerns(message: Message, fate: Fate) -> bool:
    said = {fate.recipient.lower(), fate.also.lower()}
    return any(address.lower() in said for address in message.recipients)
