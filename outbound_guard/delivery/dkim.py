"""DKIM signatures for the domains whose keys we have (RFC 6376, RFC 8463), and the Feedback-ID field.

A message is signed when all that we change is changed, and only if the account that sends it owns the domain in its
From: nobody gets another customer's signature. Fields are put in front; not an octet of the message is touched, so
signatures that it has stay what they are. The only user of cryptography.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from outbound_guard.config import Config, ConfigError, Dkim
from outbound_guard.content.urls import registrable
from outbound_guard.mail import LARGE, Sender, domain_of, owned

SMALLEST_RSA = 1024
"""Bits (RFC 8301 3.2)."""
# RFC 6376 5.4.1, and what mailbox providers want to see covered.
_SIGNED = frozenset(
    b"from reply-to sender subject date message-id to cc resent-from resent-sender resent-to resent-cc resent-date "
    b"resent-message-id in-reply-to references mime-version content-type content-transfer-encoding content-id "
    b"content-description list-id list-help list-unsubscribe list-unsubscribe-post list-subscribe list-post list-owner "
    b"list-archive feedback-id".split()
)
# Named once more than they occur, so that nobody can add another one (RFC 6376 5.4.2).
_SEALED = (b"from", b"subject", b"to", b"cc", b"date", b"reply-to", b"message-id", b"content-type")
# Only where a line begins, or a line without a colon would be tried again at each of its octets.
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:(.*(?:\r\n[ \t].*)*)(?:\r\n|\Z)", re.MULTILINE)
_BLANK = re.compile(rb"[ \t\r\n]*")
_LINES_BACKWARDS = re.compile(rb"(?:\n\r)*")


class _Key(msgspec.Struct, frozen=True):
    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        return "rsa-sha256" if isinstance(self.key, RSAPrivateKey) else "ed25519-sha256"

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(data, PKCS1v15(), SHA256())
        return self.key.sign(hashlib.sha256(data).digest())  # RFC 8463 3.


class Signer:
    """Signs with the keys of the configuration."""

    def __init__(self, config: Config, secret: bytes) -> None:
        """Reads the keys. `secret` hides the accounts in Feedback-ID. Raises ConfigError."""
        self._keys: dict[str, list[_Key]] = {}
        for number, table in enumerate(config.dkim):
            key = _key(config, table, f"dkim[{number}].private_key")
            self._keys.setdefault(key.domain, []).append(key)
        self._feedback, self._secret = config.delivery.feedback_id, secret

    def sign(self, content: Sequence[bytes], author: str, sender: Sender, campaign: int, now: float) -> list[bytes]:
        """`content`, which is a message in pieces, with signatures in front if there is a key for it.

        `author` is the address in its From, `campaign` the fingerprint of its text, `now` unix seconds.
        """
        keys = self._keys.get(domain_of(author))
        if not keys or not owned(author, sender.account, sender.name):
            return list(content)
        feedback = f"{campaign:x}:{self._hidden(sender.account)}:{sender.kind}:{self._feedback}"
        return _signed(keys, content, feedback if self._feedback else "", now)

    def sign_own(self, content: Sequence[bytes], hostname: str, now: float) -> list[bytes]:
        """`sign` for a report of ours, whose From is at `hostname`.

        The key is that of the name or of the nearest domain above it (RFC 6376 allows that, and DMARC takes it for the
        same as long as both belong to one organisation).
        """
        name = hostname.lower().rstrip(".")
        above = registrable(name)
        while name not in self._keys and name != above and "." in name:
            name = name.partition(".")[2]
        keys = self._keys.get(name)
        return _signed(keys, content, "", now) if keys else list(content)

    def _hidden(self, account: str) -> str:
        keyed = hashlib.blake2b(account.encode(), key=self._secret, digest_size=5, person=b"feedback-id")
        return keyed.hexdigest()


def _signed(keys: Sequence[_Key], content: Sequence[bytes], feedback: str, now: float) -> list[bytes]:
    """The message with a signature for each key, and the value `feedback` as its Feedback-ID if it may have one."""
    head, _, body = b"".join(content).partition(b"\r\n\r\n")
    fields = list(_fields(head))
    if sum(name == b"from" for name, _ in fields) != 1:
        return list(content)  # RFC 6376 3.8 and RFC 5322 3.6: it is no proper message.
    added = b""
    if feedback and not _mentions_feedback(fields):
        added = f"Feedback-ID: {feedback}\r\n".encode()
        fields.insert(0, (b"feedback-id", b" " + feedback.encode()))
    digest = base64.b64encode(hashlib.sha256(_body(body)).digest()).decode()
    signatures = [_signature(key, fields, digest, int(now)).encode() for key in keys]
    return [*signatures, added, *content] if added else [*signatures, *content]


def _signature(key: _Key, fields: Sequence[tuple[bytes, bytes]], digest: str, now: int) -> str:
    """The whole field."""
    names = [*(name for name, _ in fields if name in _SIGNED), *_SEALED]
    folded = ":\r\n\t".join(b":".join(names[start : start + 5]).decode() for start in range(0, len(names), 5))
    field = (
        f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/relaxed;\r\n"
        f"\td={key.domain}; s={key.selector}; t={now};\r\n\th={folded};\r\n\tbh={digest};\r\n\tb="
    )
    hashed = _hashed(fields, names) + b"dkim-signature:" + _value(field.partition(":")[2].encode())
    code = base64.b64encode(key.sign(hashed)).decode()
    lines = "\r\n\t".join(code[start : start + 72] for start in range(0, len(code), 72))
    return f"{field}{lines}\r\n"


def _hashed(fields: Sequence[tuple[bytes, bytes]], names: Sequence[bytes]) -> bytes:
    """The fields that are signed, in the order of `names`; of those that stand twice the last comes first."""
    left: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        left.setdefault(name, []).append(value)
    return b"".join([name + b":" + _value(left[name].pop()) + b"\r\n" for name in names if left.get(name)])


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names in lower case and values as they stand, top to bottom."""
    for found in _FIELD.finditer(head):
        yield found[1].lower(), found[2]


def _value(value: bytes) -> bytes:
    """RFC 6376 3.4.2, relaxed: one line, single spaces, none at either end."""
    return _single_spaces(value.replace(b"\r\n", b"")).strip(b" ")


def _single_spaces(data: bytes) -> bytes:
    """Every run of white space as one space. Each step halves the runs: where there are many, no pattern is as fast."""
    data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data


def _plain(body: bytes) -> Iterator[bytes]:
    """Lines with single spaces and none at their ends, in steps, so that others get their turn in between."""
    start = 0
    while start < len(body):
        # A step ends behind white space, which is never cut in two.
        end = _BLANK.match(body, min(start + LARGE, len(body))).end()  # type: ignore[union-attr]  # It always fits.
        yield _single_spaces(body[start:end]).replace(b" \r\n", b"\r\n")
        start = end


def _body(body: bytes) -> bytes:
    """RFC 6376 3.4.4, relaxed: single spaces, none at the end of a line, no empty lines at the end."""
    lines = b"".join(_plain(body)).rstrip(b" ")
    # From behind, and all in one step: a body can end with a million of them.
    empty = _LINES_BACKWARDS.match(lines[::-1]).end()  # type: ignore[union-attr]  # It always fits.
    lines = lines[: len(lines) - empty]
    return lines + b"\r\n" if lines else b""


def _mentions_feedback(fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """True if the message has a Feedback-ID, or a signature over there being none."""
    for name, value in fields:
        if name == b"feedback-id":
            return True
        if name == b"dkim-signature":
            signed = re.search(rb"(?:^|;)[ \t\r\n]*h[ \t\r\n]*=([^;]*)", value)
            if signed and b"feedback-id" in [part.strip().lower() for part in signed[1].split(b":")]:
                return True
    return False


def _key(config: Config, table: Dkim, where: str) -> _Key:
    path = config.resolve(table.private_key)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {path}: cannot be read as a PEM key without passphrase: {error}") from error
    if isinstance(key, RSAPrivateKey):
        if key.key_size < SMALLEST_RSA:
            raise ConfigError(f"{where}: {path}: {key.key_size} bits are too few; 2048 are usual")
    elif not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{where}: {path}: is neither an RSA nor an Ed25519 key")
    return _Key(table.domain.lower(), table.selector, key)
