"""The signed identity header: a mail server says who sent a message, and proves by a key that it is the one to say so.

    X-Guard-Identity: v1; k=web1; t=1795360830; a=shop.example; s=anna@shop.example; h=694abd10...

`k` is the key's id, `t` the time in unix seconds, `a` the account (may be empty), `s` the sender, and `h` an HMAC
(RFC 2104) in hexadecimal over seven lines joined by LF, without one at the end: `v1`, `k`, `t`, `a`, `s`, the envelope
sender, and the Message-ID fields without white space. So it holds for this message alone, and cannot be put on another.

The HMAC is one of SHA-256, or of SHA-1, whichever has as many digits. Exim's expansions know no other than SHA-1 and
MD5. HMAC does not stand on collisions being hard to find, so what was found in SHA-1 does not reach it (RFC 6194 3.3).

Whoever gets hold of such a message could send another text under its envelope sender and Message-ID. So a process
remembers which From, Subject and text a signature came with, and believes it with no others; the time limits what it
does not remember.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from outbound_guard.accounts import forms
from outbound_guard.accounts.evidence import script_of, server_name, shared
from outbound_guard.config import ConfigError
from outbound_guard.config.identity_keys import SigningKey, read_keys
from outbound_guard.mail import Headers, Sender, Submission, domain_of

VERSION = "v1"
AHEAD = 300.0
"""Seconds by which another machine's clock may be ahead of ours."""
_FIELDS = 5
"""Fields of the name that are looked at: a server that does not remove what a customer wrote sends two. Of more, the
first and the last ones are: servers put their own at either end, and what a customer wrote shall not hide it."""
_LONGEST = 1000
_REMEMBERED = 50_000
"""Signatures whose text is remembered, the newest, by each process."""
_TEXT = 262_144
"""Octets of a text from which, with its length, it is known again."""
_SPACE = re.compile(r"[ \t\r\n\v\f]+")
"""What mail servers take for white space when they sign; `\\s` would be more than that (U+00A0, U+001C)."""
_SHAPE = re.compile(r"v1((?:;[katsh]=[^;\s]{0,254}){5})")
_HASHES: dict[int, Callable[..., hashlib._Hash]] = {64: hashlib.sha256, 40: hashlib.sha1}

log = logging.getLogger(__name__)


class Unbelieved(Exception):  # noqa: N818 -- It says what is the matter with a header; nothing of ours has failed.
    """A header without effect. Its text is the word that it is counted under."""


def signature(secret: bytes, fields: tuple[str, str, str, str], mail_from: str, message_id: str, digits: int) -> str:
    """The HMAC over `fields` (k, t, a, s) and what binds them to one message; `digits` is 64 (SHA-256) or 40 (SHA-1).

    `message_id`: the values of all Message-ID fields together, white space removed.
    """
    text = "\n".join((VERSION, *fields, mail_from, message_id))
    return hmac.new(secret, text.encode("utf-8", "surrogateescape"), _HASHES[digits]).hexdigest()


class Signed:
    """The keys of one rule, and what they are asked about. One event loop uses it."""

    def __init__(
        self, path: Path, life: float, account_of: Callable[[str], str | None], count: Callable[[str], None]
    ) -> None:
        """`life`: seconds for which a signature holds; `count` is told a word about each header. Raises ConfigError."""
        self._path, self._life, self._account_of, self._count = path, life, account_of, count
        self._stamp = _stamp(path)
        self._keys = read_keys(path)
        self._texts: dict[str, bytes] = {}

    async def refresh(self) -> None:
        """Read the keys again if the file has changed. Never raises: a mistake in it is logged, and changes nothing."""
        now = _stamp(self._path)
        if now == self._stamp:
            return
        self._stamp = now
        try:
            self._keys = await asyncio.to_thread(read_keys, self._path)
            log.info("keys of the identity header read again: %d", len(self._keys))
        except ConfigError as error:
            log.error("the keys of the identity header stay as they were: %s", error)

    def sender(self, values: list[str], source: str, submission: Submission, headers: Headers) -> Sender | None:
        """The sender that the first header with a good signature names, or None. What is wrong with others is counted.

        `values` of the fields, `source` as the rule is called.
        """
        for value in values if len(values) <= _FIELDS else [*values[: _FIELDS // 2], *values[-_FIELDS // 2 :]]:
            try:
                found = self._read(value, source, submission, headers)
            except Unbelieved as why:
                self._count(str(why))
            else:
                self._count("believed")
                return found
        return None

    def _read(self, value: str, source: str, submission: Submission, headers: Headers) -> Sender:
        shape = _SHAPE.fullmatch(_SPACE.sub("", value[:_LONGEST]))
        said = dict(part.split("=", 1) for part in shape[1][1:].split(";")) if shape else {}
        if len(said) != 5 or len(said["h"]) not in _HASHES or not re.fullmatch(r"[0-9]{1,12}", said["t"]):
            raise Unbelieved("malformed")
        key = self._keys.get(said["k"])
        if key is None:
            raise Unbelieved("unknown_key")
        if not _right(key, said, submission.envelope.mail_from, headers):
            raise Unbelieved("forged")
        # Only now: a made-up header says nothing about clocks.
        age = submission.received - int(said["t"])
        if not -AHEAD <= age <= self._life:
            raise Unbelieved("expired")
        sender = self._named(key, said["a"].lower(), said["s"], source, headers)
        text = submission.content[headers.end : headers.end + _TEXT]
        size = len(submission.content) - headers.end
        head = repr((size, [*headers.all("from")], [*headers.all("subject")]))
        known = hashlib.sha256(head.encode() + text).digest()
        if self._texts.setdefault(said["h"].lower(), known) != known:
            raise Unbelieved("replayed")
        if len(self._texts) > _REMEMBERED:
            del self._texts[next(iter(self._texts))]
        return sender

    def _named(self, key: SigningKey, account: str, name: str, source: str, headers: Headers) -> Sender:
        """The sender that a header with a right signature names."""
        if account and not forms.safe(account):
            raise Unbelieved("malformed")
        server, slash, user = name.rpartition("/")
        if not slash:
            mailbox = forms.address(name)
            if mailbox is None:
                raise Unbelieved("malformed")
            account = _account(key, self._account_of(mailbox), account, domain_of(mailbox))
            return Sender(account, mailbox, "mailbox", source)
        word = forms.word(user)
        if word is None or not server:
            raise Unbelieved("malformed")
        own = f"{server_name(server)}/{word}"
        uid, _, file = script_of("x-php-originating-script", headers.get("x-php-originating-script") or "")
        if file is not None:
            # The server vouches for the system user; which of the user's scripts it was is PHP's word, and whose, where
            # the programs of all customers run as one user.
            own = f"{server_name(server)}/uid{uid}" if shared(word) else own
            script = f"{own}:{file}"
            account = _account(key, self._account_of(script) or self._account_of(own), account, own)
            return Sender(account, script, "script", source, None, file)
        return Sender(_account(key, self._account_of(own), account, own), own, "system", source)


def _account(key: SigningKey, known: str | None, said: str, own: str) -> str:
    """The sender's account: as the directory knows it, else as the header says it, else the sender's own.

    A key for some accounts must be for the sender's own as well, if the directory does not know it: else it could name
    an account that it may speak for, and another customer's mailbox.
    """
    account = known or said or own
    if not key.may_speak_for(account) or not (known or key.may_speak_for(own)):
        raise Unbelieved("not_its_account")
    return account


def _right(key: SigningKey, said: dict[str, str], mail_from: str, headers: Headers) -> bool:
    fields, given = (said["k"], said["t"], said["a"], said["s"]), said["h"].lower()
    id_ = _SPACE.sub("", "".join(headers.all("message-id")))
    return any(
        hmac.compare_digest(signature(key.secret, fields, mail_from, one, len(given)).encode(), given.encode())
        for one in _as_octets(id_)
    )


def _as_octets(text: str) -> Iterator[str]:
    """A field's text so that encoding it as UTF-8 gives the octets it had: it was read as UTF-8, else as Latin-1."""
    yield text
    if not text.isascii():
        try:
            yield text.encode("latin-1").decode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when the file does; never raises."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino
