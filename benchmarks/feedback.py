"""What hostile reports and records cost the process that reads them, and for how long they keep it from other work.

    .venv/bin/python -m benchmarks.feedback

Each is read in a thread, as the console process does it, while an event loop ticks in another. Printed are the most
processor time that went by between two ticks, and the time that the whole took.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from functools import partial

from outbound_guard.feedback import MOST_RECORDS, kumo
from outbound_guard.feedback.reading import read

_SIZE = 10_485_760
_RECORDS = 1_048_576


def _filled(head: bytes, unit: bytes, size: int = _SIZE) -> bytes:
    return head + unit * ((size - len(head)) // len(unit))


_ROBOT = b"From: mailer-daemon@x.test\r\nSubject: failure notice\r\n\r\n"
_REPORT = b'From: <>\r\nContent-Type: multipart/report; boundary="b"\r\n\r\n'
REPORTS = {
    "parts": _filled(_REPORT, b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"),
    "delimiters": _filled(_REPORT, b"--bx\r\n"),
    "addresses": _filled(_ROBOT, b"a@"),
    "codes": _filled(_ROBOT, b"550 "),
    "spaces": _filled(_ROBOT, b" \r\n"),
    "line feeds": _filled(_ROBOT, b"x\n"),
    "carriage returns": _filled(_ROBOT.replace(b"\n", b""), b"x\r"),
    "fields": _filled(b"", b"X: y\r\n"),
    "one folded field": _filled(b"X: y\r\n", b" y\r\n"),
    "base64": _filled(b"From: <>\r\nContent-Transfer-Encoding: base64\r\n\r\n", b"QUJD\r\n"),
    "messages in messages": _filled(b"", b"Content-Type: message/rfc822\r\n\r\n"),
    "markup": _filled(b"From: <>\r\nContent-Type: text/html\r\n\r\n", b"<a><b "),
    "blocks": _filled(
        _REPORT + b"--b\r\nContent-Type: message/delivery-status\r\n\r\n",
        b"Final-Recipient: rfc822; a@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n",
    ),
}
_BOUNCE = {"type": "Bounce", "id": "x", "recipient": [f"{n}@b.test" for n in range(100)], "response": {"code": 550}}
RECORDS = {
    "ordinary": json.dumps([_BOUNCE] * 400).encode(),
    "numbers": _filled(b"[1", b",1", _RECORDS - 1) + b"]",
    "objects": _filled(b"[{}", b",{}", _RECORDS - 1) + b"]",
    "names": b"{" + b",".join(b'"%d":1' % number for number in range(50_000)) + b"}",
    "nested": b"[" * _RECORDS,
}


async def _measured(work: Callable[[], object]) -> tuple[float, float]:
    worst, done = 0.0, False

    async def tick() -> None:
        nonlocal worst
        last = time.process_time()
        while not done:
            await asyncio.sleep(0.001)
            now = time.process_time()
            worst, last = max(worst, now - last), now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.02)
    worst, begun = 0.0, time.perf_counter()
    await asyncio.to_thread(work)
    took, done = time.perf_counter() - begun, True
    await ticking
    return worst, took


def _records(content: bytes) -> None:
    for _, record in zip(range(MOST_RECORDS), kumo.records(content), strict=False):
        if record is not None:
            kumo.results(record, 0.0)


async def _all() -> None:
    for name, content in REPORTS.items():
        _say(f"report of {name}", content, await _measured(partial(read, content, None, _SIZE)))
    for name, content in RECORDS.items():
        _say(f"records: {name}", content, await _measured(partial(_records, content)))


def _say(name: str, content: bytes, measured: tuple[float, float]) -> None:
    worst, took = (seconds * 1e3 for seconds in measured)
    print(f"{name:32} {len(content) / 1e6:5.1f} MB  {worst:5.1f} ms at a time, {took:6.1f} ms in all")


if __name__ == "__main__":
    asyncio.run(_all())
