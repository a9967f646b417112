"""The parameters of MAIL (RFC 5321 4.1.2, 4.1.1.11): SIZE, BODY, SMTPUTF8 and AUTH. RCPT has none here."""

from __future__ import annotations

import re
from typing import NamedTuple

from outbound_guard.edge import answers

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"[^\s\x00-\x20=\x7f-\x9f]+")
_SIZE = re.compile(r"[0-9]{1,20}")


class Declared(NamedTuple):
    """What the client says about the message to come."""

    smtputf8: bool = False
    eight_bit: bool = False


class Refused(NamedTuple):
    """A parameter that is not taken: the answer, and a word for the metric."""

    answer: bytes
    reason: str


NOTHING = Declared()
_MALFORMED = Refused(answers.BAD_PARAMETER, "syntax")
_UNKNOWN = Refused(answers.UNKNOWN_PARAMETER, "parameter")
_TOO_LARGE = Refused(answers.TOO_LARGE, "size")


def take(words: str, most: int, auth: bool) -> Declared | Refused:
    """What stands behind the path of MAIL. `most`: octets a message may have; `auth`: whether AUTH is offered."""
    named = parameters(words)
    if named is None:
        return _MALFORMED
    smtputf8 = eight_bit = False
    for name, value in named.items():
        if name == "SIZE" and value is not None and _SIZE.fullmatch(value):
            if int(value) > most:
                # RFC 1870 6.1: said before the message is sent.
                return _TOO_LARGE
        elif name == "BODY" and value is not None and value.upper() in ("7BIT", "8BITMIME"):
            eight_bit = value.upper() == "8BITMIME"
        elif name == "SMTPUTF8" and value is None:
            smtputf8 = True
        elif name in ("SIZE", "BODY", "SMTPUTF8"):
            return _MALFORMED
        elif name != "AUTH" or not auth:
            # RFC 4954 5: AUTH= is taken where AUTH is offered, but nobody is believed for what it says.
            return _UNKNOWN
    return Declared(smtputf8, eight_bit)


def parameters(text: str) -> dict[str, str | None] | None:
    """`SIZE=10 SMTPUTF8` as {"SIZE": "10", "SMTPUTF8": None}, or None if it is wrong or names one twice."""
    found: dict[str, str | None] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        name = name.upper()
        if not _KEYWORD.fullmatch(name) or name in found or (equals and not _VALUE.fullmatch(value)):
            return None
        found[name] = value if equals else None
    return found
