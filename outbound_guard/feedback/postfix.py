"""The log of a Postfix that is our next hop: what became of each recipient.

Jul  4 10:00:00 out1 postfix/cleanup[5]: 4XYZ1: message-id=<x@a.example>
Jul  4 10:00:01 out1 postfix/smtp[9]: 4XYZ1: to=<bob@b.example>, relay=mx.b.example[198.51.100.9]:25, delay=1,
    delays=0/0/0/1, dsn=5.1.1, status=bounced (host mx.b.example[198.51.100.9] said: 550 5.1.1 unknown)
Jul  4 10:00:01 out1 postfix/qmgr[3]: 4XYZ1: removed
"""

from __future__ import annotations

import datetime
import re
from collections import OrderedDict

from outbound_guard.feedback.matching import Result
from outbound_guard.feedback.report import LONGEST, Fate
from outbound_guard.reply import Reply, parse

_KEPT = 100_000
"""Message-IDs of messages that are in its queue."""
# Time, host and program stand first, as words: what strangers say to this or another program (their HELO, their login)
# is logged as well, and may look like a line.
_LINE = re.compile(
    r"(?:[^\s\[]*[^\s\[:]\s+){0,12}postfix[\w./-]*/([\w-]+)\[\d+\]: ([0-9A-F]{5,20}|[0-9A-Za-z]{10,20}): (.*)$"
)
_MESSAGE_ID = re.compile(r"message-id=<([^<>\s\0]{1,995})>")
_TO = re.compile(
    r"to=<([^>]{1,320})>,(?: orig_to=<([^>]{1,320})>,)? relay=([^,]{1,300}),(?: conn_use=\d+,)?"
    r"(?: delay=[\d.]+,)?(?: delays=[\d./]+,)? dsn=([245]\.\d{1,3}\.\d{1,3}), status=(\w{1,20})(?: \((.*?)\)?)?$"
)
_SAID = re.compile(r"said: ([245]\d\d)[ -](.*?)(?: \(in reply to [^()]*\))?$")
_QUEUED = re.compile(r"queued as ([0-9A-Za-z]{5,20})")
_HERE = re.compile(r"\[(?:127\.[0-9.]+|::1)\]:\d+$")
_FINAL = {"sent": "2", "bounced": "5", "expired": "5"}
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_OLD = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) ")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Postfix:
    """Reads the lines of one log, in their order."""

    def __init__(self) -> None:
        self._message_ids: OrderedDict[str, str] = OrderedDict()

    def read(self, line: str, now: float) -> Result | None:
        """The result that a line tells of; None for all other lines. `now`: unix seconds, when the line was met."""
        found = _LINE.match(line)
        if found is None:
            return None
        service, id_, rest = found.groups()
        if service == "cleanup":
            if named := _MESSAGE_ID.match(rest):
                self._message_ids[id_] = named[1]
                while len(self._message_ids) > _KEPT:
                    self._message_ids.popitem(last=False)
            return None
        if rest == "removed":
            self._message_ids.pop(id_, None)
            return None
        to = _TO.match(rest)
        if to is None:
            return None
        recipient, also, relay, enhanced, status, text = (group or "" for group in to.groups())
        passed_on = _QUEUED.search(text) if status == "sent" and _HERE.search(relay) else None
        peer = "" if relay == "none" else relay
        fate = Fate(recipient, _reply(status, enhanced, text), status in _FINAL, also, peer)
        return Result(
            id_,
            fate,
            time_of_line(line, now),
            self._message_ids.get(id_, ""),
            passed_on[1] if passed_on else "",
        )


def time_of_line(line: str, now: float) -> float:
    """Unix seconds at the beginning of a line; `now` where there are none, or where they lie in the future.

    Times without a zone are those of this machine; without a year, of the last year in which they can have been.
    """
    try:
        if found := _ISO.match(line):
            time = datetime.datetime.fromisoformat(found[0].replace("Z", "+00:00")).timestamp()
        elif found := _OLD.match(line):
            month, day, hour, minute, second = found.groups()
            year = datetime.datetime.fromtimestamp(now).astimezone().year
            numbers = (_MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second))
            time = datetime.datetime(year, *numbers).astimezone().timestamp()
            if time > now + 86_400.0:
                time = datetime.datetime(year - 1, *numbers).astimezone().timestamp()
        else:
            return now
    except (ValueError, OverflowError, OSError):
        return now
    return min(time, now)


def _reply(status: str, enhanced: str, text: str) -> Reply:
    if status == "sent":
        words = text if text.startswith("250 ") else f"250 {text}"
        return _with(parse(250, words[4:]), enhanced)
    said = _SAID.search(text)
    if said:
        return _with(parse(int(said[1]), said[2]), enhanced)
    # What it found out by itself: no such domain, no connection, too long in the queue.
    return Reply(550 if enhanced[0] == "5" else 450, enhanced, text[:LONGEST])


def _with(reply: Reply, enhanced: str) -> Reply:
    return Reply(reply.code, reply.enhanced or enhanced, reply.text[:LONGEST])
