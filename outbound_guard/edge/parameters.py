"""The parameters of MAIL and RCPT (RFC 5321 4.1.2, 4.1.1.11): SIZE, BODY, SMTPUTF8, AUTH, and those of RFC 3461."""

from __future__ import annotations

import re
from typing import NamedTuple

from outbound_guard.edge import answers
from outbound_guard.mail import Asked, Envelope

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"[^\s\x00-\x20=\x7f-\x9f]+")
_SIZE = re.compile(r"[0-9]{1,20}")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
"""RFC 3461 4."""
_ENVID = 100
_ORCPT = 500
"""Octets; RFC 3461 4.4 and 4.2."""
_NOTIFY = ("SUCCESS", "FAILURE", "DELAY")


class Declared(NamedTuple):
    """What the client says about the message to come."""

    smtputf8: bool = False
    eight_bit: bool = False
    ret: str = ""
    envid: str = ""

    def envelope(self, mail_from: str, recipients: list[str], asked: dict[str, Asked]) -> Envelope:
        """The envelope of the mail transaction that began with this."""
        return Envelope(mail_from, tuple(recipients), self.smtputf8, self.eight_bit, self.ret, self.envid, asked)


class Refused(NamedTuple):
    """A parameter that is not taken: the answer, and a word for the metric."""

    answer: bytes
    reason: str


NOTHING = Declared()
_MALFORMED = Refused(answers.BAD_PARAMETER, "syntax")
_UNKNOWN = Refused(answers.UNKNOWN_PARAMETER, "parameter")
_TOO_LARGE = Refused(answers.TOO_LARGE, "size")


def take(words: str, most: int, auth: bool, dsn: bool = False) -> Declared | Refused:
    """What stands behind the path of MAIL. `most`: octets a message may have; `auth`, `dsn`: what else is offered."""
    named = parameters(words)
    if named is None:
        return _MALFORMED
    smtputf8 = eight_bit = False
    ret = envid = ""
    for name, value in named.items():
        if name == "SIZE" and value is not None and _SIZE.fullmatch(value):
            if int(value) > most:
                # RFC 1870 6.1: said before the message is sent.
                return _TOO_LARGE
        elif name == "BODY" and value is not None and value.upper() in ("7BIT", "8BITMIME"):
            eight_bit = value.upper() == "8BITMIME"
        elif name == "SMTPUTF8" and value is None:
            smtputf8 = True
        elif name == "RET" and dsn and value is not None and value.upper() in ("FULL", "HDRS"):
            ret = value.upper()
        elif name == "ENVID" and dsn and value is not None and len(value) <= _ENVID and _XTEXT.fullmatch(value):
            envid = value
        elif name in ("SIZE", "BODY", "SMTPUTF8") or (dsn and name in ("RET", "ENVID")):
            return _MALFORMED
        elif name != "AUTH" or not auth:
            # RFC 4954 5: AUTH= is taken where AUTH is offered, but nobody is believed for what it says.
            return _UNKNOWN
    return Declared(smtputf8, eight_bit, ret, envid)


def take_recipient(words: str, dsn: bool) -> Asked | Refused:
    """What stands behind the path of RCPT: NOTIFY and ORCPT (RFC 3461 4.1, 4.2), if they are offered (`dsn`)."""
    named = parameters(words, ("ORCPT",))
    if named is None:
        return _MALFORMED
    notify: tuple[str, ...] = ()
    orcpt = ""
    for name, value in named.items():
        if not dsn or name not in ("NOTIFY", "ORCPT"):
            return _UNKNOWN
        if name == "NOTIFY":
            notify = tuple((value or "").upper().split(","))
            if notify != ("NEVER",) and (not set(notify) <= set(_NOTIFY) or len(set(notify)) != len(notify)):
                return _MALFORMED
        else:
            kind, semicolon, address = (value or "").replace("=", "+3D").partition(";")
            sound = bool(semicolon and address) and len(value or "") <= _ORCPT and _KEYWORD.fullmatch(kind)
            # RFC 6533 3: of the type utf-8 it may be written as it is.
            if not sound or not (_XTEXT.fullmatch(address) or kind.lower() == "utf-8"):
                return _MALFORMED
            orcpt = f"{kind};{address}"
    return Asked(notify, orcpt)


def parameters(text: str, loose: tuple[str, ...] = ()) -> dict[str, str | None] | None:
    """`SIZE=10 SMTPUTF8` as {"SIZE": "10", "SMTPUTF8": None}, or None if it is wrong or names one twice.

    The values of those that are `loose` may have a `=` in them: real addresses do, and not everybody encodes it.
    """
    found: dict[str, str | None] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        name = name.upper()
        plain = value.replace("=", "") if name in loose else value
        if not _KEYWORD.fullmatch(name) or name in found or (equals and not _VALUE.fullmatch(plain)):
            return None
        found[name] = value if equals else None
    return found
