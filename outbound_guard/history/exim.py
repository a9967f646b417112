"""Exim's main log (cPanel's is one): arrivals, deliveries, refusals; other lines are passed over.

2026-03-02 10:00:00 1wK2ab-000001-2A <= anna@a.example H=(pc) [192.0.2.7]:51234 P=esmtpsa A=dovecot_login:anna@a.example S=900
2026-03-02 10:00:01 1wK2ab-000001-2A => bob@b.example R=dnslookup T=remote_smtp H=mx.b.example [198.51.100.9] C="250 OK"
2026-03-02 10:00:01 1wK2ab-000001-2A Completed
"""  # noqa: E501 - Lines of a log are as long as they are.

from __future__ import annotations

import re
from collections import Counter

from outbound_guard.history import Delivery, Open, Origin, make_room
from outbound_guard.reply import Reply, parse

_ID = r"[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4})"
# Through syslog there is a host and a program in front, and perhaps a second time.
_LINE = re.compile(
    rf"(?:\S+ exim[\w.-]*(?:\[\d+\])?: (?:\d{{4}}-\S+ \S+ (?:[+-]\d{{4}} )?)?)?(?:\[\d+\] )?({_ID}) "
    r"(<=|=>|->|>>|\*\*|==|Completed)(?: (.*))?$"
)
# What the client says of itself (Message-ID, subject) comes behind S=: only what is in front is believed.
_BEHIND = re.compile(r" S=\d")
_PEER = re.compile(r" H=[^\[]*\[([0-9A-Fa-f:.]+)\]")
_LOGIN = re.compile(r" A=[^\s:]+:(\S+)")
_USER = re.compile(r" U=(\S+)")
_LOCAL = re.compile(r" P=local(?:-\w+)?(?: |$)")
_RECIPIENT = re.compile(r"<?([^\s<>:]+@[^\s<>:]+)>?")
_SAID = re.compile(r"SMTP error from remote mail server after .*?: ((?:[245]\d\d)[ -].*)$")
_NOWHERE = re.compile(r"Unrouteable address|non-existent|no such domain|all relevant MX", re.I)


class Exim:
    """Reads the lines of one server's log, in their order."""

    def __init__(self, skipped: Counter[str]) -> None:
        """`skipped` counts messages that say nothing about a sender, by reason."""
        self._open: dict[str, Open] = {}
        self._skipped = skipped

    def read(self, time: float, line: str) -> Delivery | None:
        """The delivery that a line tells of; `time` is its unix time, `line` what stands behind it."""
        found = _LINE.match(line)
        if found is None:
            return None
        id_, sign, rest = found[1], found[2], found[3] or ""
        if sign == "Completed":
            self._open.pop(id_, None)
            return None
        if sign == "<=":
            self._arrived(id_, rest)
            return None
        message = self._open.get(id_)
        recipient = _RECIPIENT.match(rest)
        # Only what went to another host is outbound; the rest was delivered here.
        if message is None or recipient is None:
            return None
        reply = _reply(sign, rest)
        return message.delivery(time, recipient[1], reply) if reply else None

    def _arrived(self, id_: str, rest: str) -> None:
        if rest.startswith('"'):
            self._skipped["senders in quotes"] += 1  # They could hold whatever is looked for below.
            return
        end = _BEHIND.search(rest)
        head = f"{rest[: end.start()] if end else rest} "
        mail_from = head.partition(" ")[0].strip("<>")
        login, peer, user = _LOGIN.search(head), _PEER.search(head), _USER.search(head)
        if login:
            origin = Origin(mail_from, login[1], peer[1] if peer else "")
        elif user and _LOCAL.search(head) and mail_from:
            origin = Origin(mail_from, user=user[1])
        else:
            self._skipped["bounces and the like" if not mail_from else "from elsewhere, without a login"] += 1
            return
        make_room(self._open)
        self._open[id_] = Open(origin)


def _reply(sign: str, rest: str) -> Reply | None:
    if sign in ("=>", "->", ">>"):
        return Reply(250, "2.0.0", "OK") if " H=" in rest else None
    said = _SAID.search(rest)
    if said:
        return parse(int(said[1][:3]), said[1][4:])
    return Reply(550, "5.1.2", "no such domain") if sign == "**" and _NOWHERE.search(rest) else None
