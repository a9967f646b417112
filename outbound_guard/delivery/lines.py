"""The answer in a line that somebody pasted or logged: `host x said: 550 5.1.1 ...`, `smtp; 550 ...`."""

from __future__ import annotations

import re

from outbound_guard.delivery.answers import Meaning, meaning_of
from outbound_guard.delivery.phrases import LONGEST
from outbound_guard.reply import Reply

_ENHANCED = r"([245]\.\d{1,3}\.\d{1,3})(?![\d.])"
_AT_START = re.compile(r"\s*[<\"'(]?([245]\d\d)(?:(?:[- ]|\s*#)\s*(?:#?" + _ENHANCED + r")?|$)")
_INSIDE = re.compile(
    r"(?:said:|says:|said|command:?|data:?|message:?|response:?|error:?|message\s{0,9}\(?[\w ]{0,20}\)?:|"
    r"smtp;|talk to me:|connection:|body:|[\]):\"'<>]|\.\.\.)"
    r"\s{0,9}[\"'(<]?\s{0,9}(?:smtp;\s{0,9})?([245]\d\d)[- ]\s{0,9}(?:#?" + _ENHANCED + r")?(?!\d)",
    re.I,
)
_ALONE = re.compile(r"(?<![\d.])#?" + _ENHANCED)


def reply_in(line: str) -> Reply:
    """The reply in a line, as far as there is one; code 0 and no enhanced code if it names none.

    The text keeps what stands before the code: a log line often names the host that said it.
    """
    line = line[: 2 * LONGEST].strip()
    if found := _AT_START.match(line):
        code, enhanced = int(found[1]), found[2] or ""
        text = line[found.end() :].lstrip()
    elif found := _INSIDE.search(line):
        code, enhanced = int(found[1]), found[2] or ""
        text = line
    else:
        code, enhanced, text = 0, "", line
    if not enhanced and (alone := _ALONE.search(line)) and (not code or int(alone[1][0]) == code // 100):
        enhanced = alone[1]
    return Reply(code or (int(enhanced[0]) * 100 + 50 if enhanced else 0), enhanced, text)


def meaning_of_line(line: str) -> Meaning:
    """What the answer in a line means by the packaged rules."""
    return meaning_of(reply_in(line))
