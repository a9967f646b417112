"""What is recorded: one struct for each kind of event. A line of the journal is one of them as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from outbound_guard.mail import Signal


class Decision(msgspec.Struct, frozen=True, omit_defaults=True, tag="decision"):
    """What was decided about one submission. The weights of the signals not in shadow add up to `score`."""

    id: str
    received: float
    """Unix seconds at the end of DATA."""
    account: str
    sender: str
    action: str
    """relay | defer | hold | quarantine | reject: what the verdict says, in observe mode too."""
    score: float = 0.0
    code: str = ""
    reason: str = ""
    signals: tuple[Signal, ...] = ()
    sender_kind: str = ""
    source: str = ""
    """The identity rule that found the sender."""
    server: str = ""
    client_ip: str = ""
    mail_from: str = ""
    recipients: tuple[str, ...] = ()
    subject: str = ""
    message_id: str = ""
    size: int = 0
    """Octets of the message as it came in."""
    mode: str = "enforce"
    """enforce | observe"""
    state: str = ""
    """Where the message is now: "" (gone on, or never taken), queued, held or quarantine."""
    due: float = 0.0
    """Unix time at which a held message is looked at again; 0: a person decides."""
    answered: str = ""
    """The reply the client got, as one line."""
    source_address: str = ""
    """The address of ours from which it was tried at once; empty if it was not, or if that is not known."""


class Delivered(msgspec.Struct, frozen=True, omit_defaults=True, tag="delivered"):
    """What a next hop answered for one recipient of one message."""

    id: str
    time: float
    recipient: str
    code: int
    enhanced: str = ""
    text: str = ""
    peer: str = ""
    final: bool = True
    """False if it will be tried again."""
    source_address: str = ""
    """The address of ours from which it was tried; empty if that is not known."""


class HeldChange(msgspec.Struct, frozen=True, omit_defaults=True, tag="held"):
    """A held or quarantined message changed its state."""

    id: str
    time: float
    to: str
    """released | deleted | returned | expired | quarantine | held"""
    by: str = "system"
    reason: str = ""
    due: float = 0.0


class Standing(msgspec.Struct, frozen=True, omit_defaults=True, tag="standing"):
    """A sender or an account got or lost a suspension, a limit or an exemption."""

    time: float
    scope: str
    """sender | account"""
    subject: str
    """The sender or account, any string."""
    change: str
    """suspended | resumed | limited | unlimited | exempted. An exemption ends at `until`."""
    account: str = ""
    """The account of a sender, where it is known."""
    by: str = "system"
    reason: str = ""
    until: float = 0.0
    """Unix time from which it no longer holds; 0: until it is changed."""
    limits: dict[str, int] = {}
    """Of `limited`: the fields of config.Limit that are not 0."""


class Audit(msgspec.Struct, frozen=True, omit_defaults=True, tag="audit"):
    """Somebody did something."""

    time: float
    by: str
    what: str
    subject: str = ""
    detail: str = ""


class AccountEntry(msgspec.Struct, frozen=True, omit_defaults=True, tag="account"):
    """An entry of the directory of accounts. Empty texts leave what is known; `senders` are added or moved here."""

    time: float
    account: str
    name: str = ""
    contact: str = ""
    note: str = ""
    senders: tuple[str, ...] = ()
    """Addresses, senders, or patterns with `*`."""


class CaseSubject(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a case is about: an address or domain of ours, and who lists or refuses it."""

    subject: str
    """An address or domain; `receiver` for refusals that name no address of ours."""
    source: str = ""
    """The list's zone, or the receiver's name; empty: what a person said."""
    kind: str = "list"
    """list | receiver | person"""
    operator: str = ""
    """Who keeps the list; of a receiver, its name."""
    state: str = "listed"
    """listed | clean"""
    scope: str = ""
    """address | range | network | domain"""
    codes: str = ""
    reason: str = ""
    since: float = 0.0
    seen: float = 0.0
    """Unix time of the first and of the last sight of it."""
    clean_since: float = 0.0
    count: int = 0
    """Refusals; 0 for lists."""


class CaseCheck(msgspec.Struct, frozen=True, omit_defaults=True):
    """An item of a case's checklist, as it was ticked off."""

    state: str = ""
    """done | not needed; empty: open."""
    evidence: str = ""
    data: dict[str, Any] = {}


class CaseEvent(msgspec.Struct, frozen=True, omit_defaults=True, tag="case"):
    """Something happened in a case. Texts hold no personal contact data: they are redacted before they come here."""

    id: str
    """Made from the fact itself where a machine found it; a second event with the same id is left out."""
    case: str
    time: float
    what: str
    """One of desk.cases.stages.WHAT."""
    by: str = "system"
    text: str = ""
    fields: dict[str, Any] = {}
    """What it changes in the case: columns of the table `case_file`."""
    subjects: tuple[CaseSubject, ...] = ()
    """Each takes the place of what was known of this subject and source."""
    checks: dict[str, CaseCheck] = {}
    data: dict[str, Any] = {}
    """What belongs to the event itself: of a contact its channel, and with whom."""


class WeightChange(msgspec.Struct, frozen=True, omit_defaults=True, tag="weight"):
    """What a signal's weight is multiplied by in this installation was changed."""

    time: float
    signal: str
    change: str
    """learned | reset | undone"""
    factor_from: float
    factor_to: float
    by: str = "system"
    reason: str = ""
    message: str = ""
    """The message whose release or deletion taught it, or whose lesson was undone."""
    finding: str = ""
    """honest | abuse: what was decided about that message."""
    sender: str = ""
    text: str = ""
    """Its fingerprint, hexadecimal; empty if there is none."""


Record = Decision | Delivered | HeldChange | Standing | Audit | AccountEntry | CaseEvent | WeightChange

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """The record as one line of JSON, without the line end. Text that is no Unicode is made so; never raises for it."""
    try:
        return _encoder.encode(record)
    except UnicodeEncodeError:
        # A lone surrogate stands for an octet that was no UTF-8 in what a client sent.
        return _encoder.encode(_mended(msgspec.to_builtins(record)))


def decode(line: bytes) -> Record:
    """The record of a line. Raises msgspec.DecodeError (or its ValidationError)."""
    if b"\\u0000" in line:
        # PostgreSQL stores every character but this one.
        line = line.replace(b"\\u0000", b"\\ufffd")
    return _decoder.decode(line)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return value
