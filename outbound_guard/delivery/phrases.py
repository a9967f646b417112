"""The phrases of answers.toml, and text made ready to be compared with them.

A phrase is text in which `*` is a gap of up to 40 characters, `(one|other)` either, `{name}` one of a list of words,
`$` the end of a word and `<ip>` any address. It begins at the beginning of a word. Its cost is bounded by construction:
texts are cut, gaps are short and few, and a phrase is not even tried unless the words occur that it cannot do without.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import msgspec

LONGEST = 2_000
"""Characters of a text that are looked at; a line of a reply has 512 octets at most (RFC 5321 4.5.3.1.5)."""
GAP = 40
MOST_GAPS = 3

_EDGE = r"(?<![a-z0-9])"
_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\w)"
    # As documents and log excerpts anonymise them.
    r"|(?<![\w.])(?:[x*#]{1,3}\.){3}[x*#]{1,3}(?!\w)|<ip[ _-]address>"
    r"|(?<![\w:])(?:ipv6:)?(?:[0-9a-f]{1,4}:){2,7}:?(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?(?![\w:])",
)
# Every line of a reply repeats the code; taken out, a sentence that goes over several lines is whole again.
_AGAIN = re.compile(r"(?<=\s)([245]\d\d)[- ](?:([245]\.\d{1,3}\.\d{1,3})\s+)?(?=\S)")
_NAME = re.compile(r"\{([\w-]+)\}")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "\u00a0": " ", "‑": "-", "–": "-"})


class PhraseError(Exception):
    """A phrase that cannot be used; the text says why."""


class Phrase(msgspec.Struct, frozen=True):
    """A phrase as a regular expression. `needs`: of each group one word must occur."""

    pattern: str
    needs: tuple[tuple[str, ...], ...]

    def stands_in(self, text: str) -> bool:
        """True if the phrase occurs in a folded text."""
        for words in self.needs:
            for word in words:
                if word in text:
                    break
            else:
                return False
        return _compiled(self.pattern).search(text) is not None


# Compiled when first needed: most phrases never are, and all at once would take a relay half a second.
@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.S)


def any_of(phrases: Iterable[Phrase], text: str) -> bool:
    """True if one of the phrases occurs in a folded text."""
    return any(phrase.stands_in(text) for phrase in phrases)


def fold(text: str) -> str:
    """A text as phrases see it: cut, small letters without accents, single spaces, addresses as `<ip>`."""
    text = unicodedata.normalize("NFKD", text[:LONGEST].translate(_QUOTES).casefold())
    text = "".join(letter for letter in text if not unicodedata.combining(letter))[:LONGEST]
    first, _, rest = " ".join(text.split()).partition(" ")
    text = first + " " + _AGAIN.sub("", " " + rest).lstrip() if rest else first
    return _ADDRESS.sub("<ip>", text)


def phrase(text: str, words: Mapping[str, Sequence[str]] | None = None) -> Phrase:
    """Compile a phrase; `{name}` in it stands for one of `words`. Raises PhraseError."""
    for name in _NAME.findall(text):
        if not (words and words.get(name)):
            raise PhraseError(f"`{text}` names a list of words that is not there: {name}")
        # The last one twice: a parenthesis without a choice would be taken as it stands.
        text = text.replace("{" + name + "}", "(" + "|".join([*words[name], words[name][-1]]) + ")")
    folded = "".join(
        letter for letter in unicodedata.normalize("NFKD", text.translate(_QUOTES).casefold())
        if not unicodedata.combining(letter)
    )  # fmt: skip
    folded = folded.rstrip("*")
    if not folded.strip():
        raise PhraseError("a phrase is empty")
    if folded.count("*") > MOST_GAPS:
        raise PhraseError(f"`{text}` has more than {MOST_GAPS} gaps")
    pattern, needs, end = _sequence(folded, 0, text)
    if end != len(folded):
        raise PhraseError(f"`{text}` has a parenthesis too many")
    if folded[0] == "*":
        raise PhraseError(f"`{text}` begins with a gap")
    edge = _EDGE if folded[0].isalnum() or folded[0] in "(<" else ""
    # The rarest first, which is mostly the one with the fewest words.
    return Phrase(edge + pattern, tuple(sorted(needs, key=len)))


def _sequence(text: str, at: int, whole: str, inside: bool = False) -> tuple[str, list[tuple[str, ...]], int]:
    """Pattern and needs of a sequence from `at` on, and where it ends: at `|` or `)` of its group, or at the end."""
    pattern: list[str] = []
    needs: list[tuple[str, ...]] = []
    literal = ""
    while at < len(text):
        letter = text[at]
        if inside and letter in "|)":
            break
        if letter in "*$(" and not (letter == "(" and not _is_group(text, at)):
            if len(literal) > 2:
                needs.append((literal,))
            pattern.append(re.escape(literal))
            literal = ""
            at += 1
            if letter == "*":
                following = text[at] if at < len(text) else ""
                pattern.append(f".{{0,{GAP}}}?" + (_EDGE if following.isalnum() or following == "(" else ""))
            elif letter == "$":
                pattern.append(r"(?![a-z0-9])")
            else:
                alternatives, words, at = _group(text, at, whole)
                pattern.append("(?:" + "|".join(alternatives) + ")")
                if all(words):
                    needs.append(tuple(words))
            continue
        literal += letter
        at += 1
    if len(literal) > 2 or (literal and not needs and not pattern):
        needs.append((literal,))
    pattern.append(re.escape(literal))
    return "".join(pattern), needs, at


def _group(text: str, at: int, whole: str) -> tuple[list[str], list[str], int]:
    """The alternatives of a group that was opened before `at`, for each a word it needs, and where the group ends."""
    patterns, words = [], []
    while True:
        pattern, needs, at = _sequence(text, at, whole, inside=True)
        patterns.append(pattern)
        words.append(max((n[0] for n in needs if len(n) == 1), key=len, default=""))
        if at >= len(text):
            raise PhraseError(f"`{whole}` has a parenthesis that is not closed")
        at += 1
        if text[at - 1] == ")":
            return patterns, words, at


def _is_group(text: str, at: int) -> bool:
    """True if the parenthesis at `at` holds alternatives; else it is meant as it stands."""
    depth = 0
    for letter in text[at:]:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and depth == 1:
            return True
        if depth == 0:
            return False
    return False
