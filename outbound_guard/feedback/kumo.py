"""Records as KumoMTA writes them, one JSON object a line or posted to a webhook: what became of each recipient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from outbound_guard.feedback.matching import Result
from outbound_guard.feedback.report import LONGEST, TYPES, Fate, Original, Report, address
from outbound_guard.mail import Headers
from outbound_guard.reply import Reply

RESULTS = ("Delivery", "Bounce", "TransientFailure", "Expiration", "AdminBounce", "OOB", "Rejection", "Delayed")
"""Types of records that tell of recipients. `Feedback` tells of a complaint; the others, of nothing that is needed."""
_FINAL = ("Delivery", "Bounce", "Expiration", "AdminBounce", "OOB", "Rejection")
_TOKEN = "x-outbound-guard-id"  # noqa: S105 -- the name of a header field.
_MOST = 100
"""Recipients of one record."""

_LONGEST = 524_288
"""Octets of one record; that of a complaint holds a message, of which a quarter of a megabyte is read."""

Record = dict[str, Any]


def records(content: bytes) -> Iterator[Record | None]:
    """The records of JSON lines, or of one JSON array or object; None for each line that is none, or is too long."""
    try:
        # Each is looked into by itself: a thread that decodes megabytes in one go keeps the others waiting.
        array = content.lstrip()[:1] == b"["
        for one in _array.decode(content) if array else [_object.decode(content)]:
            yield _record(bytes(one))
        return
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    for line in content.splitlines():
        if line.strip():
            yield _record(line)


_array = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(msgspec.Raw)


def _record(content: bytes) -> Record | None:
    try:
        one = msgspec.json.decode(content) if len(content) <= _LONGEST else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        one = None
    return one if isinstance(one, dict) else None


def results(record: Record, now: float) -> list[Result]:
    """What a record says of its recipients; empty if it is about something else. `now`: unix seconds."""
    kind = record.get("type")
    if kind not in RESULTS:
        return []
    response = record.get("response")
    reply = _reply(response if isinstance(response, dict) else {}, str(kind))
    peer = record.get("peer_address")
    name = str(peer.get("name") or peer.get("addr") or "") if isinstance(peer, dict) else ""
    time = record.get("event_time", record.get("timestamp"))
    when = float(time) if isinstance(time, int | float) and 0 < time <= now else now
    said = record.get("recipient")
    recipients = said if isinstance(said, list) else [said]
    return [
        Result(
            str(record.get("id", ""))[:64],
            Fate(found, reply, kind in _FINAL, peer=name[:255]),
            when,
            _header(record, "message-id").strip("<> "),
            token=_header(record, _TOKEN),
        )
        for one in recipients[:_MOST]
        if isinstance(one, str) and (found := address(one))
    ]


def complaint(record: Record) -> Report | None:
    """The complaint that a record of type `Feedback` is; None for another."""
    said = record.get("feedback_report")
    if record.get("type") != "Feedback" or not isinstance(said, dict):
        return None
    type_ = str(said.get("feedback_type", "other")).lower()
    named = said.get("original_rcpt_to")
    named = named if isinstance(named, list) else [named]
    recipients = [found for one in named[:_MOST] if isinstance(one, str) and (found := address(one))]
    kept = str(said.get("original_message") or "")[:262_144]
    headers = Headers(kept.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-8", "replace"))
    tokens = [*headers.all(_TOKEN), _header(record, _TOKEN)]
    message_ids = [*headers.all("message-id"), _header(record, "message-id")]
    return Report(
        "complaint",
        "arf",
        type_ if type_ in TYPES else "other",
        Original(
            tuple(token for token in tokens if token)[:20],
            (),
            tuple(named for one in message_ids if (named := one.replace("\0", "").strip("<> ")))[:20],
        ),
        recipients=tuple(recipients),
        reporter=str(said.get("user_agent") or said.get("reporting_mta") or "")[:200],
        digest=str(record.get("id", ""))[:64],
    )


def _header(record: Record, name: str) -> str:
    """A header field that the log was configured to keep (`log_record` headers), or of `meta`."""
    for table in (record.get("headers"), record.get("meta")):
        if isinstance(table, dict):
            for key, value in table.items():
                if str(key).lower().replace("_", "-") == name and isinstance(value, str):
                    return value.replace("\0", "").strip()[:998]
    return ""


def _reply(response: Record, kind: str) -> Reply:
    code = response.get("code")
    if not isinstance(code, int) or not 200 <= code < 600:
        code = 250 if kind == "Delivery" else 450 if kind in ("TransientFailure", "Delayed") else 550
    parts = response.get("enhanced_code")
    enhanced = ""
    if isinstance(parts, dict):
        numbers = [parts.get(name) for name in ("class", "subject", "detail")]
        if all(isinstance(number, int) and 0 <= number < 1000 for number in numbers):
            enhanced = ".".join(str(number) for number in numbers)
    return Reply(code, enhanced, " ".join(str(response.get("content", ""))[: 2 * LONGEST].split())[:LONGEST])
