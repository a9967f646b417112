"""The bodies of what is sent by HTTP: our own JSON, MailChannels' keys, an operator's template, a line for a chat."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.ledger.outbox_records import KINDS
from outbound_guard.notify.routes import plain

JSON, TEXT = "application/json", "text/plain; charset=utf-8"
Message = Mapping[str, Any]
"""The message behind a notice, as outbox_queries.latest_kept has it; empty if there is none."""

_CONDITION = ("sender_id_sending_spam", "Sender ID is sending SPAM")
_CALLS = re.compile(r"@(?=here\b|channel\b|all\b|everyone\b)", re.I)
_LINKS = re.compile(r"(?<=:)(?=//)|(?<=\bwww)(?=\.)", re.I)
"""Where what a chat takes for an address of the web is broken."""
_CHAT = str.maketrans({"<": None, ">": None, "[": None, "]": None, "`": "'"})
"""Without brackets parentheses make no link."""


def own(id_: str, notice: Told, host: str, message: Message, *, details: bool) -> tuple[str, bytes]:
    """Our own form: media type and body."""
    body: dict[str, Any] = {
        "version": 1,
        "id": id_,
        "kind": notice.kind,
        "description": _description(notice),
        "time": moment(notice.time),
        "count": notice.count,
        "account": notice.account,
        "sender": notice.sender,
        "subject": notice.subject,
        "host": host,
    }
    for name in ("scope", "zone", "codes"):
        if notice.data.get(name):
            body[name] = notice.data[name]
    if notice.data.get("until"):
        body["until"] = moment(float(notice.data["until"]))
    if details:
        body["details"] = _details(notice, message)
    return JSON, msgspec.json.encode(body)


def mailchannels(notice: Told, organisation: str, message: Message) -> tuple[str, bytes]:
    """The keys that receivers of MailChannels' notices know; for notices of abuse alone."""
    sender = notice.sender or message.get("sender") or notice.account
    kind = originator_type(message.get("source", ""))
    body = {
        "condition_name": _CONDITION[0],
        "condition_description": _CONDITION[1],
        "account_id": organisation,
        "timestamp": moment(notice.time),
        "originator": sender,
        "originator_type": kind,
        "sender_id": f"{organisation}|{kind}|{sender}",
        "ip": message.get("client_ip", ""),
        "transaction_id": message.get("id", ""),
        "envelope_sender": message.get("mail_from", ""),
        "message_id": message.get("message_id", ""),
    }
    return JSON, msgspec.json.encode(body)


def template(text: str, *, json: bool, id_: str, notice: Told, message: Message, details: bool) -> tuple[str, bytes]:
    """An operator's own: names in it are filled in; with `json` as parts of JSON texts, without their quotes."""
    values = {
        "id": id_,
        "kind": notice.kind,
        "description": _description(notice),
        "time": moment(notice.time),
        "account": notice.account,
        "sender": notice.sender,
        "subject": notice.subject,
        "count": str(notice.count),
        "scope": str(notice.data.get("scope", "")),
        "until": moment(float(notice.data["until"])) if notice.data.get("until") else "",
    }
    told = _details(notice, message) if details else {}
    values |= {name: told.get(name, "") for name in ("reason", "client_ip", "mail_from", "message_id")}
    if json:
        values = {name: msgspec.json.encode(value).decode()[1:-1] for name, value in values.items()}
    else:
        values = {name: plain(value, 1000) for name, value in values.items()}
    return JSON if json else TEXT, string.Template(text).safe_substitute(values).encode()


def chat(notice: Told, host: str, *, details: bool) -> tuple[str, bytes]:
    """`{"text": ...}`, as most chats take it. No name in it calls people or makes a link."""
    whose = notice.sender or notice.account or notice.subject
    parts = [f"{host}: {_description(notice)}"]
    if whose:
        parts.append(f": {whose}")
    if notice.sender and notice.account:
        parts.append(f" (account {notice.account})")
    if notice.count > 1:
        parts.append(f", {notice.count} times")
    if notice.data.get("zone"):
        parts.append(f", by {notice.data['zone']}")
    if details and notice.reason:
        parts.append(f". {notice.reason}")
    text = _LINKS.sub("\u200b", plain("".join(parts), 1000).translate(_CHAT))
    return JSON, msgspec.json.encode({"text": _CALLS.sub("@\u200b", text)})


def moment(time: float) -> str:
    """A time (unix seconds) as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def originator_type(source: str) -> str:
    """The identity rule that found a sender, in MailChannels' words as far as there are any."""
    kind, _, name = source.partition(":")
    if kind == "header":
        return "x-authsender" if name.lower() == "received" else name.lower()
    return {"sasl": "x-authuser", "mail_from": "envelope_sender", "client_ip": "ip"}.get(kind, kind)


def _details(notice: Told, message: Message) -> dict[str, str]:
    names = ("client_ip", "mail_from", "message_id", "code", "source")
    found = {"reason": notice.reason} | {name: str(message.get(name) or "") for name in names}
    return found | ({"message": str(message["id"])} if message.get("id") else {})


def _description(notice: Told) -> str:
    return KINDS.get(notice.kind, notice.kind)
