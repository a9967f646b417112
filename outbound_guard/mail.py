"""What goes through the house: submissions, senders, and the header fields of a message."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterable, Iterator, KeysView

import msgspec

LARGE = 1_048_576
"""Octets of a message from which on work on all of it is done in a thread, in steps of so many: nobody waits for it."""
MAX_HEADER = 524_288
"""Octets of a header section that are read; the edge takes no message with a longer one."""
MOST_FIELDS = 2_000
"""Fields of a header section that are read; the edge takes no message with more. Honest mail has below 200."""
_LONG_HEADER, _LONG_VALUE = 65_536, 65_536
"""In a header section of more octets than the first, a value is cut to so many characters as the second."""
# A name without its colon, at the end of a line that goes on: RFC 5322 2.2 and 4.5.8 fold no field there.
_FOLDED_NAME = re.compile(rb"^[^:\r\n \t][^:\r\n]*(?:\r\n[ \t][^\r\n]*)+", re.M)
_STEP = 4_096
"""Octets that are searched at a time for a line that begins with a dot."""
_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [one + two for one in _BASE32 for two in _BASE32]


def new_id(now: float) -> str:
    """An id for a message received at `now` (unix seconds): 16 letters and digits, sorts by time."""
    # An id is no secret: what must not be guessed is signed (accounts/token.py).
    return _id((int(now * 1000) << 32) | random.getrandbits(32))


def first_id(time: float) -> str:
    """The lowest id that a message received at `time` (unix seconds) can have."""
    return _id(int(time * 1000) << 32)


def last_id(time: float) -> str:
    """The highest id that a message received at `time` (unix seconds) can have."""
    return _id((int(time * 1000) + 1 << 32) - 1)


def time_of(id_: str) -> float | None:
    """When the message with this id was received, in unix seconds to the millisecond; None if it is no id of ours."""
    if len(id_) != 16 or any(letter not in _BASE32 for letter in id_):
        return None
    number = 0
    for letter in id_:
        number = number << 5 | _BASE32.index(letter)
    return (number >> 32) / 1000


def _id(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(70, -1, -10)])


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What reports the client asks for about one recipient (RFC 3461 4.1, 4.2)."""

    notify: tuple[str, ...] = ()
    """NEVER alone, or some of SUCCESS, FAILURE, DELAY; empty: nothing was said."""
    orcpt: str = ""
    """The original recipient, `type;xtext`; empty: not given."""


class Envelope(msgspec.Struct, frozen=True):
    """Who a message is from and for (RFC 5321 2.3.1). The null sender is the empty string."""

    mail_from: str
    recipients: tuple[str, ...]
    smtputf8: bool = False
    eight_bit: bool = False
    """True if the client declared BODY=8BITMIME."""
    ret: str = ""
    """FULL | HDRS: what of the message a report is to return (RFC 3461 4.3); empty: nothing was said."""
    envid: str = ""
    """The client's own name for this envelope, in xtext (RFC 3461 4.4)."""
    asked: dict[str, Asked] = {}
    """By recipient; those of whom nothing was said are not in it."""


class Submission(msgspec.Struct, frozen=True):
    """One mail transaction as it came in; nothing changes it any more.

    `content` is the message with CRLF line ends and without dot-stuffing, byte for byte as the client meant it.
    """

    id: str
    received: float
    """Unix seconds at the end of DATA."""
    envelope: Envelope
    content: bytes
    client_ip: str
    client_port: int = 0
    helo: str = ""
    login: str | None = None
    """The SASL login, if there was one."""
    server: str | None = None
    """Name of the customer's MTA that speaks here (its login matched `server_logins`); its headers are trusted."""
    protocol: str = "ESMTP"
    """For the Received field: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA and the UTF8 forms (RFC 3848, 6531)."""
    tls: str | None = None
    """Protocol and cipher, if the session was encrypted."""
    listener: str = ""


class Sender(msgspec.Struct, frozen=True):
    """Who is behind a submission: the customer's account, and the mailbox, script or host inside it."""

    account: str
    name: str
    """`user@domain`, `server/uid:script` or an address."""
    kind: str
    """mailbox | script | system | forwarder | address"""
    source: str
    """The identity rule that found it, for example `header:X-AuthUser`."""
    client_ip: str | None = None
    """The address the author's own client came from, where it is known (not the customer's server)."""
    script: str | None = None


class Signal(msgspec.Struct, frozen=True):
    """One piece of evidence: its name, its weight and a sentence with its numbers.

    The weight is a log-likelihood ratio in nats: positive speaks for abuse, negative against.
    """

    name: str
    weight: float
    reason: str
    volume: bool = False
    """True if it is about volume alone; such evidence may defer or hold, never convict."""
    shadow: bool = False
    """True if it is on trial: recorded, but without effect."""


class Verdict(msgspec.Struct, frozen=True):
    """What is to be done with a submission, and why. The weights of the signals not in shadow add up to `score`."""

    action: str
    """relay | defer | hold | quarantine | reject"""
    score: float
    code: str
    """The stable word of the deciding reason, for reply, log and metric."""
    signals: tuple[Signal, ...]
    reason: str = ""
    suspend: str | None = None
    """The sender or account to suspend as of now, if any."""
    wait: float = 0.0
    """Seconds until a deferred or held message is to be looked at again; 0 on a hold: a person decides."""


class Headers:
    """The header section of a message: fields in order, names in lower case, values unfolded."""

    __slots__ = ("_first", "end", "fields")

    def __init__(self, content: bytes) -> None:
        """Read the header of `content`, up to the first empty line; lines that are no field are left out.

        A field is what `without_fields` takes out, and what mail servers remove by its name: an ASCII name and a colon
        on one line. More than `MAX_HEADER` octets or `MOST_FIELDS` lines are not read.
        """
        if content[:2] == b"\r\n":
            stop, self.end = 0, 2
        else:
            stop = content.find(b"\r\n\r\n", 0, MAX_HEADER)
            self.end = stop + 4
            if stop < 0:
                stop = min(len(content), MAX_HEADER)
                end = content.find(b"\r\n\r\n", max(stop - 3, 0))
                self.end = end + 4 if end >= 0 else len(content)
        head = content[:stop]
        if b"\r\n " in head or b"\r\n\t" in head:
            unfolded = _unfolded(head)
            if b" :" in unfolded or b"\t:" in unfolded:
                unfolded = _unfolded(_FOLDED_NAME.sub(b"", head))
            head = unfolded
        try:
            text = head.decode("utf-8")
        except UnicodeDecodeError:
            text = head.decode("latin-1")
        # In lower case some letter beyond ASCII would become one of ASCII.
        self.fields: list[tuple[str, str]] = [
            (name.rstrip(" \t").lower(), value.strip(" \t"))
            for name, colon, value in [line.partition(":") for line in text.split("\r\n", MOST_FIELDS)[:MOST_FIELDS]]
            if colon and name.isascii()
        ]
        if stop > _LONG_HEADER:
            self.fields = [(name, value[:_LONG_VALUE]) for name, value in self.fields]
        # Of several fields of one name the last in this order, which is the first, stays.
        self._first = dict(reversed(self.fields))

    def __contains__(self, name: str) -> bool:
        return name in self._first

    @property
    def names(self) -> KeysView[str]:
        """The names of the fields, in lower case, each once."""
        return self._first.keys()

    def get(self, name: str) -> str | None:
        """The first field's value, or None. `name` is in lower case."""
        return self._first.get(name)

    def all(self, name: str) -> Iterator[str]:
        """The values of all fields of that name, top to bottom. `name` is in lower case."""
        return (value for field, value in self.fields if field == name)


def _unfolded(head: bytes) -> bytes:
    """RFC 5322 2.2.3: unfolding removes the CRLF, the white space stays."""
    return head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")


def without_fields(content: bytes, header_end: int, names: Iterable[str]) -> list[bytes]:
    """`content` in pieces without the header fields called `names`; every other octet stays as it is.

    `header_end` is `Headers.end` of the same content.
    """
    wanted = b"|".join(re.escape(name.encode("ascii")) for name in names)
    pieces, kept = [], 0
    # One field: its name at the start of a line, up to the line end that no white space follows.
    for field in re.finditer(
        rb"^(?:" + wanted + rb")[ \t]*:.*(?:\r\n[ \t].*)*(?:\r\n|\Z)", content[:header_end], re.M | re.I
    ):
        pieces.append(content[kept : field.start()])
        kept = field.end()
    pieces.append(content[kept:])
    return [piece for piece in pieces if piece]


def dotted_line(content: bytes) -> int:
    """Where the first CRLF dot stands, which RFC 5321 4.5.2 has a meaning for; -1 if no line begins with a dot.

    From one dot to the next: one octet is found many times as fast as three, and an attachment in base64 has no dot.
    """
    dot = content.find(b".")
    while dot >= 0:
        found = content.find(b"\r\n.", max(dot - 2, 0), dot + _STEP)
        if found >= 0:
            return found
        dot = content.find(b".", dot + _STEP)
    return -1


def domain_of(address: str) -> str:
    """The domain of an address in lower case; empty for the null sender or a bare local part."""
    _, at, domain = address.rpartition("@")
    return domain.lower() if at else ""


def same_address(address: str) -> str:
    """By what two spellings of an address are found to be one: in lower case, an international domain as `xn--`."""
    local, at, domain = address.lower().rpartition("@")
    if not domain.isascii():
        with contextlib.suppress(UnicodeError):
            domain = domain.encode("idna").decode()
    return f"{local}{at}{domain}"


def owned(address: str, account: str, sender: str) -> bool:
    """True if a bounce to `address` reaches the sender's own account: it is the sender, or lies in its domain."""
    if not address or "@" not in address:
        return False
    return address.lower() == sender or domain_of(address) in (domain_of(sender), account)
