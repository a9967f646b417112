"""The world around a recorded trace: clients that try again, answers that come late, people who look at suspensions.

Only what a relay could see is given to it. Of the recorded outcomes, those of mail that was let through are told when
their time has come; what was stopped stays unanswered.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from outbound_guard.trace import transactions

Event = dict[str, Any]
Handle = Callable[[Event], Event]

_SERVER_RETRIES = (300, 600, 1200, 2400, 4000)
"""Seconds between the tries of an MTA's queue; the last repeats until it gives up."""
_SERVER_GIVES_UP = 2 * 86_400.0
_PERSON_RETRIES = (600, 1800, 7200)
"""Somebody at a mail program tries again by hand a few times."""
_LONGEST_HOLD = 86_400.0
"""Seconds; what is held longer counts as quarantined."""
_TOLD = 100
"""Transactions between two words on the progress."""
_TX_FIELDS = ("id", "client_ip", "server", "sasl_user", "helo", "mail_from", "rcpt_to", "message", "size", "recorded")


class Driver:
    """Takes one trace through a relay in virtual time."""

    def __init__(self, handle: Handle, progress: Callable[[int], object] = lambda transactions: None) -> None:
        """`progress` is told now and then how many transactions of the trace are done."""
        self._handle, self._progress = handle, progress
        self._due: list[tuple[float, int, Callable[[float], object]]] = []
        self._number = count()
        self._deferred: dict[tuple[object, ...], str] = {}
        """Recorded transactions that were deferred: what their clients tried next is in the trace itself."""
        self.records: dict[str, Event] = {}
        """What became of each transaction, by id, in the run format."""

    def run(self, trace: Path) -> None:
        """Drive the relay over `trace`, a directory. Raises OSError, TraceError."""
        now, begun = 0.0, False
        for number, transaction in enumerate(transactions(trace)):
            if number % _TOLD == 0:
                self._progress(number)
            now = transaction["t"]
            if not begun:
                self._handle({"ev": "start", "t": now, "trace": str(trace.absolute()), "max_hold": _LONGEST_HOLD})
                begun = True
            self._until(now)
            if self._is_next_try(transaction, now):
                continue
            self.records[transaction["id"]] = {
                "id": transaction["id"],
                "t": now,
                "n": len(transaction["rcpt_to"]),
            }
            self._submit(transaction, now, 0)
        # Two more days, in which queues empty and the last answers come.
        self._until(now + _SERVER_GIVES_UP)
        self._handle({"ev": "end", "t": now + _SERVER_GIVES_UP})
        for record in self.records.values():
            if "final" not in record:
                record["final"], record["t_final"] = "expired", now + _SERVER_GIVES_UP

    def _is_next_try(self, transaction: Event, now: float) -> bool:
        """True if this is the next try of a recorded transaction that was deferred; here they are one and the same."""
        recorded = transaction.get("recorded")
        if not recorded or not recorded["message_id"]:
            return False
        key = (transaction["mail_from"], *transaction["rcpt_to"], recorded["message_id"])
        first = self._deferred.get(key)
        if first is None:
            if recorded.get("deferred"):
                self._deferred[key] = transaction["id"]
            return False
        record = self.records[first]
        if "final" not in record and "held" not in record:
            self._submit({**transaction, "id": first}, now, 0)
        return True

    def write(self, file: TextIO) -> None:
        """Write the run, one line for each transaction."""
        for record in self.records.values():
            file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def _until(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            time, _, happen = heapq.heappop(self._due)
            happen(time)

    def _at(self, time: float, happen: Callable[[float], object]) -> None:
        heapq.heappush(self._due, (time, next(self._number), happen))

    def _submit(self, transaction: Event, now: float, tries: int) -> None:
        event = {field: transaction[field] for field in _TX_FIELDS if field in transaction}
        answer = self._handle({**event, "ev": "tx", "t": now})
        record = self.records[transaction["id"]]
        for key in ("score", "account", "reasons"):
            if key in answer and key not in record:
                record[key] = answer[key]
        self._answered(transaction, answer, now, tries)

    def _answered(self, transaction: Event, answer: Event, now: float, tries: int) -> None:
        record, action = self.records[transaction["id"]], answer["action"]
        if answer.get("suspended"):
            record["suspended"] = True
        if action == "relay":
            record["final"], record["t_final"] = "relay", now
            self._plan_answers(transaction, now)
        elif action in ("quarantine", "reject"):
            record["final"], record["t_final"] = action, now
        elif action == "throttle":
            record["throttled"] = record.get("throttled", 0) + 1
            self._retry(transaction, now, tries)
        else:
            record["held"] = record.get("held", 0) + 1
            again = now + float(answer.get("release_after") or 3600)
            if again - transaction["t"] > _LONGEST_HOLD:
                record["final"], record["t_final"] = "quarantine", now
            else:
                self._at(again, lambda time: self._release_due(transaction, time))

    def _release_due(self, transaction: Event, now: float) -> None:
        answer = self._handle({"ev": "release_due", "t": now, "id": transaction["id"]})
        self._answered(transaction, answer, now, 1)

    def _retry(self, transaction: Event, now: float, tries: int) -> None:
        if (transaction.get("recorded") or {}).get("deferred"):
            return  # Its next try comes in the trace.
        if transaction["server"]:
            wait: float | None = _SERVER_RETRIES[min(tries, len(_SERVER_RETRIES) - 1)]
            if wait is not None and now + wait - transaction["t"] > _SERVER_GIVES_UP:
                wait = None
        else:
            wait = _PERSON_RETRIES[tries] if tries < len(_PERSON_RETRIES) else None
        if wait is None:
            record = self.records[transaction["id"]]
            record["final"], record["t_final"] = "expired", now
        else:
            self._at(now + wait, lambda time: self._submit(transaction, time, tries + 1))

    def _plan_answers(self, transaction: Event, now: float) -> None:
        outcomes = transaction.get("outcomes") or {}
        recipients = transaction["rcpt_to"]
        others = {other["rcpt"]: other for other in outcomes.get("other", ())}
        taken = [to for i, to in enumerate(recipients) if i not in others or others[i].get("async")]
        if taken and "ok_after" in outcomes:
            self._tell(now + outcomes["ok_after"], "result", transaction, taken, "250 2.0.0 OK", "final")
        for index, other in others.items():
            to = [recipients[index]]
            if other.get("async"):
                self._tell(now + other["after"], "bounce", transaction, to, other["reply"], "final")
                continue
            stage = "deferred" if other["reply"].startswith("4") else "final"
            self._tell(now + other["after"], "result", transaction, to, other["reply"], stage)
            if "final" in other:
                self._tell(now + other["final_after"], "result", transaction, to, other["final"], "final")
        for complaint in outcomes.get("complaints", ()):
            to = [recipients[complaint["rcpt"]]]
            self._tell(now + complaint["after"], "complaint", transaction, to, "abuse", "final")

    def _tell(self, time: float, kind: str, transaction: Event, to: list[str], reply: str, stage: str) -> None:
        event = {"ev": kind, "id": transaction["id"], "rcpt_to": to, "reply": reply, "stage": stage}
        self._at(time, lambda now: self._handle({**event, "t": now}))
