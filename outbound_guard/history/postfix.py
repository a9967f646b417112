"""Postfix's lines in the mail log (Plesk's is one): arrivals and deliveries; other lines are passed over.

Mar  2 10:00:00 web1 postfix/smtpd[7]: 4XYZ1: client=pc[192.0.2.7], sasl_method=PLAIN, sasl_username=anna@a.example
Mar  2 10:00:00 web1 postfix/qmgr[3]: 4XYZ1: from=<anna@a.example>, size=900, nrcpt=1 (queue active)
Mar  2 10:00:01 web1 postfix/smtp[9]: 4XYZ1: to=<bob@b.example>, relay=mx.b.example[198.51.100.9]:25, delay=1,
    delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 OK)
Mar  2 10:00:01 web1 postfix/qmgr[3]: 4XYZ1: removed
"""

from __future__ import annotations

import re
from collections import Counter

import msgspec

from outbound_guard.history import Delivery, Open, Origin, make_room
from outbound_guard.reply import Reply, parse

_LINE = re.compile(r"\S+ postfix[\w./-]*/([\w-]+)\[\d+\]: ([0-9A-F]{5,20}|[0-9A-Za-z]{10,20}): (.*)$")
_CLIENT = re.compile(r"client=[^\s\[]*\[([0-9A-Fa-f:.]+|unknown)\]")
_LOGIN = re.compile(r", sasl_username=([^\s,]+)")
_PICKED_UP = re.compile(r"uid=(\d{1,10}) from=<([^>]*)>")
_FROM = re.compile(r"from=<([^>]*)>")
_TO = re.compile(r"to=<([^>\s]+)>,.*? relay=([^,]+),.*? dsn=(\d\.\d{1,3}\.\d{1,3}), status=(\w+) \((.*)\)$")
_SAID = re.compile(r"said: ([245]\d\d)[ -](.*?)(?: \(in reply to [^()]*\))?$")
_PASSED_ON = re.compile(r"queued as ([0-9A-Za-z]{5,20})")
_HOST = re.compile(r"\S*\[([0-9A-Fa-f:.]+)\]:\d+$")

_MOST_GIVEN_BACK = 10_000


class Postfix:
    """Reads the lines of one server's log, in their order."""

    def __init__(self, skipped: Counter[str]) -> None:
        """`skipped` counts messages that say nothing about a sender, by reason."""
        self._open: dict[str, Open] = {}
        self._given_back: dict[str, None] = {}
        """Names under which messages came in from this machine itself: a filter may have given them back."""
        self._skipped = skipped

    def read(self, time: float, line: str) -> Delivery | None:
        """The delivery that a line tells of; `time` is its unix time, `line` what stands behind it."""
        found = _LINE.match(line)
        if found is None:
            return None
        service, id_, rest = found[1], found[2], found[3]
        if service == "smtpd":
            self._came_in(id_, rest)
        elif service == "pickup":
            picked = _PICKED_UP.match(rest)
            if picked and picked[2]:
                self._note(id_, Origin(picked[2], uid=int(picked[1])))
        elif service == "qmgr":
            self._queued(id_, rest)
        elif rest.startswith("to=<"):
            return self._delivered(time, id_, rest)
        return None

    def _came_in(self, id_: str, rest: str) -> None:
        client = _CLIENT.match(rest)
        if client is None:
            return
        login = _LOGIN.search(rest)
        if login:
            self._note(id_, Origin(login=login[1], client_ip=client[1] if client[1] != "unknown" else ""))
        elif _loopback(client[1]):
            while len(self._given_back) >= _MOST_GIVEN_BACK:
                del self._given_back[next(iter(self._given_back))]
            self._given_back[id_] = None
        else:
            self._skipped["from elsewhere, without a login"] += 1

    def _queued(self, id_: str, rest: str) -> None:
        if rest == "removed":
            self._open.pop(id_, None)
            return
        sender, message = _FROM.match(rest), self._open.get(id_)
        if sender and message:
            message.origin = msgspec.structs.replace(message.origin, mail_from=sender[1])

    def _delivered(self, time: float, id_: str, rest: str) -> Delivery | None:
        message, found = self._open.get(id_), _TO.match(rest)
        if message is None or found is None:
            return None
        recipient, relay, enhanced, status, text = found.groups()
        host = _HOST.match(relay)
        if status == "sent":
            if host is None:
                return None  # Delivered here.
            again = _PASSED_ON.search(text)
            if again and again[1] in self._given_back and _loopback(host[1]):
                # To a filter of this server, from which it has come back under another name.
                del self._given_back[again[1]]
                self._note(again[1], message.origin)
                return None
            return message.delivery(time, recipient, Reply(250, enhanced, "OK"))
        said = _SAID.search(text)
        if said and host is not None:
            return message.delivery(time, recipient, parse(int(said[1]), said[2]))
        if status == "bounced" and "domain name not found" in text:
            return message.delivery(time, recipient, Reply(550, "5.1.2", "no such domain"))
        return None

    def _note(self, id_: str, origin: Origin) -> None:
        make_room(self._open)
        self._open[id_] = Open(origin)


def _loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
