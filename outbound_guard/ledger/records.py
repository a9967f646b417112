"""What is recorded: one struct for each kind of event. A line of the journal is one of them as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from outbound_guard.ledger.bulk_records import BulkChange as BulkChange
from outbound_guard.ledger.bulk_records import BulkDone as BulkDone
from outbound_guard.ledger.bulk_records import BulkPlaced as BulkPlaced
from outbound_guard.ledger.bulk_records import BulkResult as BulkResult
from outbound_guard.ledger.customer_records import CustomerAnswer as CustomerAnswer
from outbound_guard.ledger.customer_records import CustomerLink as CustomerLink
from outbound_guard.ledger.customer_records import CustomerOffence as CustomerOffence
from outbound_guard.ledger.customer_records import CustomerRelease as CustomerRelease
from outbound_guard.ledger.outbox_records import Notice as Notice
from outbound_guard.ledger.outbox_records import NoticeAct as NoticeAct
from outbound_guard.ledger.user_records import TokenChange as TokenChange
from outbound_guard.ledger.user_records import UserChange as UserChange
from outbound_guard.mail import Signal
from outbound_guard.unicode import to_json


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
    text: str = ""
    """The fingerprint of its text, 16 hexadecimal digits; empty if there is none."""


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
    about: str = ""
    """Of a report about a message (a bounce): the message it is about."""


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
    """suspended | resumed | limited | unlimited | exempted | probation | pinned | unpinned. Exemptions and probations
    end at `until`."""
    account: str = ""
    """The account of a sender, where it is known."""
    by: str = "system"
    reason: str = ""
    until: float = 0.0
    """Unix time from which it no longer holds; 0: until it is changed."""
    limits: dict[str, int] = {}
    """Of `limited`: the fields of config.Limit that are not 0."""
    pool: str = ""
    """Of `pinned`: the egress pool."""


class ClassChange(msgspec.Struct, frozen=True, omit_defaults=True, tag="class"):
    """A sender's mail is in another class than before, or its first one."""

    time: float
    account: str
    sender: str
    class_: str = msgspec.field(name="class")
    """One of reputation.classes.CLASSES."""
    reason: str = ""


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
    emptied: tuple[str, ...] = ()
    """Which of name, contact and note are empty from now on."""
    gone: tuple[str, ...] = ()
    """Senders or patterns that are no longer its own."""
    removed: bool = False
    """The entry goes, with its senders."""


class Note(msgspec.Struct, frozen=True, omit_defaults=True, tag="note"):
    """What somebody wrote down about an account or sender. The same `id` replaces it; an empty text removes it."""

    id: str
    time: float
    scope: str
    """sender | account"""
    subject: str
    text: str
    account: str = ""
    """The account of a sender, where it is known."""
    by: str = "system"


class Erasure(msgspec.Struct, frozen=True, omit_defaults=True, tag="erasure"):
    """Somebody wants everything about an account erased. It is done by the ledger's writer, in portions."""

    id: str
    time: float
    account: str
    by: str = "system"
    keep_suspension: bool = False
    """A suspension in force stays, under the account's name, without its reason."""


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


class Feedback(msgspec.Struct, frozen=True, omit_defaults=True, tag="feedback"):
    """The world has answered after it had taken a message: a complaint, a bounce, a line in a next hop's log."""

    key: str
    """Made from the fact itself; a second record with the same key is left out."""
    time: float
    """Unix seconds at which it became known here, or, of a log, at which it happened."""
    kind: str
    """complaint | bounce | delivery"""
    class_: str = ""
    """Of a complaint the feedback type (RFC 5965 7.3), else the class of the answer (delivery.answers.CLASSES)."""
    outcome: str = ""
    """What it says about the sender: one of reputation.OUTCOMES; empty: nothing."""
    account: str = ""
    sender: str = ""
    sender_kind: str = ""
    recipient: str = ""
    message: str = ""
    """Our id of the message it is about; empty if none was found."""
    source: str = ""
    """From where it came: `smtp 192.0.2.7`, `cli`, `api`, `log`."""
    proof: str = ""
    """How the message was found: seal (our token), received, message_id, recipient, queue_id."""
    counts: bool = False
    """It is proven, and so speaks about the sender."""
    code: int = 0
    enhanced: str = ""
    detail: str = ""
    """The answer's text, or who complains."""
    peer: str = ""
    final: bool = True
    """False if it is tried again there."""
    text: str = ""
    """The fingerprint of the message's text, as in `Decision`."""


class Suppression(msgspec.Struct, frozen=True, omit_defaults=True, tag="suppression"):
    """A recipient came on an account's suppression list, or went off it."""

    time: float
    account: str
    address: str
    """In lower case."""
    change: str
    """added | removed"""
    why: str = ""
    """unknown_user | complaint | by_hand"""
    message: str = ""
    detail: str = ""
    by: str = "system"


Record = (
    Decision
    | BulkPlaced
    | BulkChange
    | BulkDone
    | Delivered
    | HeldChange
    | Standing
    | ClassChange
    | Audit
    | AccountEntry
    | CaseEvent
    | WeightChange
    | Note
    | Erasure
    | Feedback
    | Suppression
    | UserChange
    | TokenChange
    | Notice
    | NoticeAct
    | CustomerLink
    | CustomerAnswer
    | CustomerOffence
    | CustomerRelease
)

_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def fingerprint_text(fingerprint: int) -> str:
    """A text's fingerprint as records have it: 16 hexadecimal digits, or empty for 0."""
    return f"{fingerprint:016x}" if fingerprint else ""


def encode(record: Record) -> bytes:
    """The record as one line of JSON, without the line end. Text that is no Unicode is made so; never raises for it."""
    return to_json(record)


def decode(line: bytes) -> Record:
    """The record of a line. Raises msgspec.DecodeError (or its ValidationError)."""
    if b"\\u0000" in line:
        # PostgreSQL stores every character but this one.
        line = line.replace(b"\\u0000", b"\\ufffd")
    return _decoder.decode(line)


def decode_lines(data: bytes) -> list[Record]:
    """The records of many whole lines, in their order. Raises as `decode` does if one of them cannot be read."""
    if b"\\u0000" in data:
        data = data.replace(b"\\u0000", b"\\ufffd")
    return _decoder.decode_lines(data)
