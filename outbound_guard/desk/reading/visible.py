"""Text from mail as people may safely look at it: what acts on the display or cannot be seen is named instead."""

from __future__ import annotations

import re
import unicodedata

# Controls, surrogates, and what turns the direction of the text that follows (Unicode UAX 9), except the two marks
# LRM and RLM, without which Hebrew and Arabic are not written right. Tabs and line ends stay.
_ACTING = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Nothing is seen of these; spam parts words with them. Two of them join letters in Persian, Hindi and emoji, so that
# they are counted and left where they are.
_UNSEEN = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\ufeff\U000e0000-\U000e007f]"
)
_NAMED = {chr(code): f"⟦U+{code:04X}⟧" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def visible(text: str, limit: int) -> str:
    """At most `limit` characters of `text`; controls become pictures (␀), what turns text becomes ⟦U+202E⟧."""
    text = text[:limit]
    if text.isascii() and text.isprintable():
        return text
    return _ACTING.sub(_name, text.replace("\r\n", "\n"))


def one_line(text: str, limit: int) -> str:
    """Like `visible`, with white space made one space, and the marks LRM and RLM named as well."""
    shown = visible(" ".join(text[: limit * 2].split())[:limit], limit)
    return shown.replace("\u200e", "⟦U+200E⟧").replace("\u200f", "⟦U+200F⟧")


def unseen(text: str) -> int:
    """How many characters of `text` nobody sees."""
    return 0 if text.isascii() else len(_UNSEEN.findall(text))


def unseen_names(text: str, limit: int = 5) -> list[str]:
    """The names of the invisible characters in `text`, each once, at most `limit`."""
    found = dict.fromkeys(_UNSEEN.findall(text))
    return [unicodedata.name(letter, f"U+{ord(letter):04X}").lower() for letter in list(found)[:limit]]


def _name(match: re.Match[str]) -> str:
    letter = match[0]
    code = ord(letter)
    if code < 0x20:
        return "\n" if letter == "\r" else chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return _NAMED.get(letter, "\ufffd")
