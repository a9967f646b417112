"""Recorded traffic: one JSON object for each SMTP transaction, in time order, and an archive of the messages.

A trace is a directory. Made elsewhere it holds `trace.jsonl` and `messages.zbin`, and perhaps `labels.jsonl`. What the
product records itself (tape.py) is many such files, one for each day and process, and beside each the later answers:

    20261122-relay-0.jsonl   20261122-relay-0.zbin   20261122-delivery-0.answers.jsonl

Both are read here as the same thing: transactions in time order, each with what the world answered (`outcomes`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import msgspec

Transaction: TypeAlias = dict[str, Any]

ANSWERS = ".answers.jsonl"
LINES = ".jsonl"
ARCHIVE = ".zbin"
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a line may raise that is no JSON, no UTF-8, or nested without end."""


class TraceError(Exception):
    """A trace that cannot be used; the text says where the mistake is."""


class _Other(msgspec.Struct):
    rcpt: int
    reply: str
    after: float
    final: str = ""
    final_after: float = 0.0


class _Complaint(msgspec.Struct):
    rcpt: int
    after: float


class _Outcomes(msgspec.Struct):
    ok_after: float = 0.0
    other: list[_Other] = []
    complaints: list[_Complaint] = []


class _Fields(msgspec.Struct):
    """What a line must hold; there may be more in it."""

    id: str
    t: float
    client_ip: str
    server: str | None
    sasl_user: str | None
    helo: str
    mail_from: str
    rcpt_to: list[str]
    message: str
    size: int
    outcomes: _Outcomes | None = None


class _Head(msgspec.Struct):
    t: float


class Answer(msgspec.Struct, frozen=True):
    """An answer of the world that came after a transaction was written down; a line of an `.answers.jsonl`."""

    ev: str
    """result | bounce | complaint"""
    t: float
    id: str
    rcpt_to: tuple[str, ...]
    reply: str
    stage: str = "final"
    """deferred | final"""


class Label(msgspec.Struct):
    """What is known to be true of a transaction; a line of labels.jsonl."""

    id: str
    label: str
    """ham | spam"""
    account: str = ""
    under_attack: bool = False


def transactions(folder: Path) -> Iterator[Transaction]:
    """The transactions of a trace in time order. Raises TraceError, naming file and line."""
    if not folder.is_dir():
        raise TraceError(f"{folder}: is no directory; a trace is a directory with trace.jsonl and its messages")
    whole = folder / "trace.jsonl"
    if whole.is_file():
        return _whole(whole)
    parts = sorted(path for path in folder.glob(f"*{LINES}") if _is_part(path))
    if parts:
        return _recorded(folder, parts)
    raise TraceError(f"{folder}: holds no trace: neither trace.jsonl nor what the product records")


def labels(folder: Path) -> dict[str, Label]:
    """The labels of a trace by transaction; none if it has none. Raises TraceError."""
    path, found = folder / "labels.jsonl", {}
    if path.is_file():
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    label = msgspec.json.decode(line, type=Label)
                except UNREADABLE as error:
                    raise TraceError(f"{path}: line {number}: {error}") from error
                found[label.id] = label
    return found


def _is_part(path: Path) -> bool:
    day, dash, _ = path.name.partition("-")
    return bool(dash) and len(day) == 8 and day.isdigit() and not path.name.endswith(ANSWERS)


def _whole(path: Path) -> Iterator[Transaction]:
    before, found = float("-inf"), 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                transaction = _transaction(line)
            except UNREADABLE as error:
                raise TraceError(f"{path}: line {number}: {error}") from error
            if transaction["t"] < before:
                raise TraceError(f"{path}: line {number}: is earlier than the line before; a trace is in time order")
            before, found = transaction["t"], found + 1
            yield transaction
    if not found:
        raise TraceError(f"{path}: is empty")


def _transaction(line: bytes) -> Transaction:
    transaction: Transaction = msgspec.json.decode(line)
    fields = msgspec.convert(transaction, _Fields)
    told = fields.outcomes or _Outcomes()
    for place in (*(other.rcpt for other in told.other), *(complaint.rcpt for complaint in told.complaints)):
        if not 0 <= place < len(fields.rcpt_to):
            raise msgspec.ValidationError(f"there is no recipient {place} - at `$.outcomes`")
    return transaction


def _recorded(folder: Path, parts: list[Path]) -> Iterator[Transaction]:
    """What the processes of the product wrote, brought together."""
    later: dict[str, list[Answer]] = {}
    for path in sorted(folder.glob(f"*{ANSWERS}")):
        for answer in _answers(path):
            later.setdefault(answer.id, []).append(answer)
    files = [path.open("rb") for path in parts]
    try:
        # A process writes a transaction when its next hop has answered, so lines are not quite in order.
        places = sorted((t, number, offset) for number, file in enumerate(files) for t, offset in _index(file))
        if not places:
            raise TraceError(f"{folder}: nothing was recorded yet")
        for _, number, offset in places:
            files[number].seek(offset)
            try:
                transaction = _transaction(files[number].readline())
            except UNREADABLE:
                continue  # The line on which a process was killed.
            if answers := later.get(transaction["id"]):
                _join(transaction, sorted(answers, key=lambda answer: answer.t))
            yield transaction
    finally:
        for file in files:
            file.close()


def _index(file: BinaryIO) -> Iterator[tuple[float, int]]:
    offset = 0
    for line in file:
        with contextlib.suppress(*UNREADABLE):
            yield msgspec.json.decode(line, type=_Head).t, offset
        offset += len(line)


def _answers(path: Path) -> Iterator[Answer]:
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=Answer)
            except UNREADABLE:
                continue


def _join(transaction: Transaction, answers: list[Answer]) -> None:
    """Put later answers into a transaction's outcomes."""
    outcomes = transaction.setdefault("outcomes", {})
    others: dict[int, dict[str, Any]] = {other["rcpt"]: other for other in outcomes.get("other", ())}
    places = {to: place for place, to in enumerate(transaction["rcpt_to"])}
    begin = transaction["t"]
    if (transaction.get("recorded") or {}).get("state") in ("held", "quarantine"):
        # Times count from when it was let go, which was a moment before the first answer.
        begin = max(begin, answers[0].t - 1.0)
    for answer in answers:
        after = round(max(0.0, answer.t - begin), 3)
        for place in (places[to] for to in answer.rcpt_to if to in places):
            if answer.ev == "complaint":
                outcomes.setdefault("complaints", []).append({"rcpt": place, "after": after})
            elif answer.ev == "bounce":
                others[place] = {"rcpt": place, "reply": answer.reply, "after": after, "async": True}
            elif place not in others:
                others[place] = {"rcpt": place, "reply": answer.reply, "after": after}
            elif answer.stage == "final" and others[place]["reply"].startswith("4"):
                others[place] |= {"final": answer.reply, "final_after": after}
    if others:
        outcomes["other"] = [others[place] for place in sorted(others)]
