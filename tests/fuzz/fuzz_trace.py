"""Recorded traffic that is read back: transactions, later answers and labels, or a TraceError that names the place."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from outbound_guard.trace import TraceError, labels, transactions
from tests.fuzz.target import Choices, Target, holds, scratch

LINE = (
    b'{"id":"t1","t":10.5,"client_ip":"192.0.2.1","server":null,"sasl_user":"a@b.example","helo":"pc","mail_from":"a@b.example",'
    b'"rcpt_to":["c@d.example","e@f.example"],"message":"0:10","size":10,"outcomes":{"ok_after":1.0,"other":'
    b'[{"rcpt":0,"reply":"550 5.1.1 no","after":2.0}],"complaints":[{"rcpt":1,"after":60.0}]}}\n'
)
ANSWER = b'{"ev":"result","t":12.0,"id":"t1","rcpt_to":["c@d.example"],"reply":"450 4.2.2 full","stage":"deferred"}\n'


@functools.cache
def _folder(kind: int) -> Path:
    folder = scratch() / f"trace-{kind}"
    folder.mkdir(exist_ok=True)
    return folder


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind = choices.number(3)
    folder, data = _folder(kind), choices.rest()
    if kind == 0:
        (folder / "trace.jsonl").write_bytes(data)
    elif kind == 1:
        lines, _, answers = data.partition(b"\x1f")
        (folder / "20261122-relay-0.jsonl").write_bytes(lines)
        (folder / "20261122-delivery-0.answers.jsonl").write_bytes(answers)
    else:
        (folder / "labels.jsonl").write_bytes(data)
        try:
            for label in labels(folder).values():
                holds(label.id is not None, label)
        except TraceError as error:
            holds(str(folder) in str(error), error)
        return
    before = float("-inf")
    try:
        for transaction in transactions(folder):
            holds(transaction["t"] >= before, "not in time order", data)
            before = transaction["t"]
            told = transaction.get("outcomes") or {}
            for other in (*told.get("other", ()), *told.get("complaints", ())):
                holds(0 <= other["rcpt"] < len(transaction["rcpt_to"]), "nobody's outcome", transaction)
    except TraceError as error:
        holds(str(folder) in str(error), error)


def seeds() -> Iterator[bytes]:
    yield b"\0" + LINE + LINE.replace(b'"t1"', b'"t2"')
    yield b"\0" + LINE.replace(b'"rcpt":0', b'"rcpt":-1')
    yield b"\1" + LINE + b"\x1f" + ANSWER
    yield (
        b"\1"
        + LINE
        + LINE[:40]
        + b"\n"
        + b"\x1f"
        + ANSWER.replace(b"result", b"complaint")
        + ANSWER.replace(b"result", b"bounce")
    )
    yield (
        b"\1"
        + LINE.replace(b'"size":10', b'"size":10,"recorded":{"state":"held"}')
        + b"\x1f"
        + ANSWER.replace(b"deferred", b"final")
    )
    yield b'\2{"id":"t1","label":"spam","account":"x","under_attack":true}\n'


WORDS = (
    *(
        b"\n",
        b"\x1f",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"null",
        b"true",
        b"1e999",
        b"-1",
        b"NaN",
        b"\\ud800",
        b"[]",
    ),
    *(
        b'"t":',
        b'"id":',
        b'"rcpt_to":',
        b'"outcomes":',
        b'"other":',
        b'"complaints":',
        b'"rcpt":0',
        b'"recorded":',
        b"{}",
    ),
    *(b'"state":"held"', b'"ev":"bounce"', b'"ev":"complaint"', b'"stage":"final"', LINE, ANSWER, b"\xff", b"9" * 400),
)
TARGET = Target(attempt, seeds, WORDS, lead=1)
