"""Names of people in letters, found by where they stand: headers, greetings, signatures, "On ... X wrote:", titles.

There is no list of all names, and none is needed: people are named in few places, and what was found in one of these is
taken out of the rest of the text too. Where it is not certain, a word too much is taken out rather than one too few.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from outbound_guard.desk.redaction import namemarks as marks
from outbound_guard.desk.redaction import namewords as words
from outbound_guard.desk.redaction.namemarks import plain

NAME = "[name removed]"


class Names:
    """Takes the names out of one text, and knows which there were."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def redact(self, text: str) -> str:
        """The text without names of people. Takes time in proportion to its length."""
        text = marks.ANCHOR.sub(lambda m: m[1] + (self._take(m[2]) if _like_a_name(m[2]) else m[2]) + m[3], text)
        text = marks.ENCODED.sub(self._encoded, text)
        text = marks.SHOWN.sub(self._shown, text)
        text = self._where(marks.ATTRIBUTION, text)
        text = self._where(marks.WRITER, text)
        text = marks.HONOURED.sub(self._honoured, text)
        text = self._lines(text)
        text = self._following(text, marks.TITLE, 1)
        text = self._following(text, marks.INTRODUCTION, 1, self._introduces)
        text = self._following(text, marks.SPOKEN, 2)
        text = self._following(text, marks.INITIALS, 1, whole=True)
        text = marks.ACCENTED.sub(self._accented, text)
        text = self._given(text)
        return _REPEATED.sub(NAME, self._again(text))

    def _take(self, name: str) -> str:
        """The replacement of a name, which is remembered."""
        for word in marks.WORD.findall(name):
            if len(word) > 2 and _is_capital(word) and plain(word) not in marks.ORDINARY:
                self.found.add(word)
        return NAME

    def _shown(self, found: re.Match[str]) -> str:
        """`Jane Doe <jane@...`: the name in front of an address. What is before it in the line stays."""
        name = found["name"]
        start, end = found.span("name")
        whole = found[0]
        offset = found.start()
        if _like_a_name(name) or ("," in name and _like_a_name(name.replace(",", " "))):
            return whole[: start - offset] + self._take(name) + whole[end - offset :]
        kept = self._runs(name, last=True)
        return whole[: start - offset] + kept + whole[end - offset :]

    def _encoded(self, found: re.Match[str]) -> str:
        """An encoded word (RFC 2047) in front of an address."""
        try:
            shown = str(make_header(decode_header(found[1])))
        except (ValueError, LookupError, HeaderParseError):
            shown = ""
        roles = any(plain(word) in words.ROLES for word in marks.WORD.findall(shown))
        return found[0] if roles else found[0].replace(found[1], self._take(shown))

    def _where(self, pattern: re.Pattern[str], text: str) -> str:
        """Take the names out of the places that a pattern finds."""
        out, at = [], 0
        for found in pattern.finditer(plain(text)):
            out += [text[at : found.start()], self._runs(text[found.start() : found.end()])]
            at = found.end()
        return "".join(out) + text[at:] if out else text

    def _runs(self, text: str, *, last: bool = False) -> str:
        """Every run of words that may be a name is taken out, or only the one at the end."""
        runs: list[tuple[int, int]] = []
        for found in marks.WORD.finditer(text):
            start, end = found.span()
            if _beside_an_address(text, start, end):
                continue
            word = plain(found[0]).rstrip(".")
            joined = bool(runs) and not text[runs[-1][1] : start].strip(" \t\u00a0,")
            particle = joined and word in words.PARTICLES
            if (_is_capital(found[0]) and word not in marks.ORDINARY) or particle:
                if joined:
                    runs[-1] = (runs[-1][0], end)
                else:
                    runs.append((start, end))
        if last:
            runs = [run for run in runs if not text[run[1] :].strip(" \t\u00a0\"'”")]
        for start, end in reversed(runs):
            text = text[:start] + self._take(text[start:end]) + text[end:]
        return text

    def _honoured(self, found: re.Match[str]) -> str:
        name, title = (found[1], found[2]) if found[1] else (found[3], found[4])
        if name.endswith(marks.NOBODY) or name in marks.NOBODY:
            return found[0]
        self.found.add(name)
        return NAME + title

    def _lines(self, text: str) -> str:
        """Headers, greetings, closings and what follows them, labels: all that depends on the line."""
        pieces = marks.BREAK.split(text)
        signature = 0
        for at in range(0, len(pieces), 2):
            piece = pieces[at]
            if not piece.strip():
                continue
            prefix = marks.PREFIX.match(piece)
            start = prefix.end() if prefix else 0
            line = piece[start:]
            if piece.rstrip() == "--" or piece.strip() in ("--", "__", "—"):
                signature = 5
                continue
            if len(line) > marks.LONGEST_LINE:
                signature = 0
                continue
            changed, closes = self._line(line)
            if changed == line and signature and NAME in line:
                signature = 0
            elif changed == line and signature:
                changed = self._signed(line, first=signature == 6)
                signature = signature - 1 if changed == line else 0
            if closes:
                signature = 6 if changed == line else 0
            pieces[at] = piece[:start] + changed
        return "".join(pieces)

    def _line(self, line: str) -> tuple[str, bool]:
        """A line without the names that its beginning tells of, and whether it closes a letter."""
        folded = plain(line)
        if header := marks.HEADER.match(folded):
            rest = line[header.end() :]
            return line[: header.end()] + self._addressees(rest), False
        if greeting := marks.GREETING.match(folded):
            return self._greeted(line, greeting.end()), False
        if closing := marks.CLOSING.match(folded):
            rest = line[closing.end() :]
            if not rest.strip(" \t,.!-–—*_،，、。"):
                return line, True
            if _like_a_name(rest, loose=len(rest) < 16 and closing[0].rstrip().endswith((",", "-"))):
                return line[: closing.end()] + self._take(rest), False
        if (dashed := marks.DASHED.match(line)) and _like_a_name(line[dashed.end() :], most=3):
            return line[: dashed.end()] + self._take(line[dashed.end() :]), False
        out, at = [], 0
        for label in marks.LABEL.finditer(folded):
            if label.start() < at:
                continue
            value = re.split(r"[|;(<\t]", line[label.end() :], maxsplit=1)[0]
            if not _like_a_name(value.replace(",", " ")):
                value = value.partition(",")[0]
            if _like_a_name(value.replace(",", " ")):
                out += [line[at : label.end()], self._take(value)]
                at = label.end() + len(value)
        return ("".join(out) + line[at:] if out else line), False

    def _addressees(self, text: str) -> str:
        """What stands in a From or To field, where addresses are looked after elsewhere."""
        parts = re.split(r"(;|,(?=[^\"]*(?:\"[^\"]*\"[^\"]*)*$)|<[^<>]*>|&lt;[^&]*&gt;|\[mailto:[^\]]*\])", text)
        if len(parts) == 1 and "," in text and _like_a_name(text.replace(",", " ")):
            return self._take(text)
        for at, part in enumerate(parts):
            loose = "".join(parts[at + 1 : at + 2]).startswith(("<", "&lt;", "[mailto"))
            if _like_a_name(part, loose=loose):
                parts[at] = self._take_trimmed(part)
        return "".join(parts)

    def _take_trimmed(self, text: str) -> str:
        body = text.strip(" \t\"'")
        return text.replace(body, self._take(body), 1)

    def _greeted(self, line: str, at: int) -> str:
        """`Hi Jane and Joe,`: names after a greeting."""
        while title := marks.CALLED.match(plain(line), at):
            at = title.end()
        rest = line[at:]
        upto = re.match(r"[^,!.:;\n–—]{0,60}", rest)
        called = upto[0] if upto else ""
        after = rest[len(called) :]
        loose = bool(called) and len(called.split()) == 1 and (not after or after[0] in ",!.:;–—")
        if loose and plain(called).strip() not in marks.ORDINARY and _like_a_name(called, loose=True):
            return line[:at] + self._take(called) + after
        if marks.DEPARTMENT.search(called) and not marks.AND.search(called):
            return line
        for _ in range(8):
            end = self._name_end(line, at, 5)
            if end > at:
                line = line[:at] + self._take(line[at:end]) + line[end:]
                at += len(NAME)
            following = marks.AND.match(line, at)
            if not following:
                break
            at = following.end()
        return line

    def _signed(self, line: str, *, first: bool) -> str:
        """A line below a closing: its first part may be a name."""
        part = re.split(r"[,|•·/(]|[ \t][-–—][ \t]|[ \t]{3,}", line, maxsplit=1)[0]
        if _like_a_name(part, loose=first and part == line):
            return self._take_trimmed(part) + line[len(part) :]
        return line

    def _name_end(self, text: str, at: int, most: int) -> int:
        """Where a name that begins at `at` ends; `at` if there is none."""
        end, count, start = at, 0, at
        while count < most and (found := marks.WORD.match(text, at)):
            word = plain(found[0]).rstrip(".")
            capital = _is_capital(found[0]) and (word not in marks.ORDINARY or self._both(text, found, count))
            if not capital and not (word in words.PARTICLES and count < most - 1):
                break
            if _beside_an_address(text, found.start(), found.end()):
                break
            count += 1
            at = found.end()
            if capital:
                end = at
            blanks = marks.BLANKS.match(text, at)
            if not blanks:
                break
            at = blanks.end()
        return end if end > start else start

    @staticmethod
    def _both(text: str, found: re.Match[str], count: int) -> bool:
        """Whether an ordinary word is a part of a name here: by what is before and after it."""
        if plain(found[0]) not in marks.BOTH:
            return False
        following = marks.WORD.match(text, found.end() + 1)
        return count > 0 or (
            following is not None
            and text[found.end()] in " \u00a0"
            and (plain(following[0]) in words.PARTICLES or _is_capital(following[0]))
            and plain(following[0]) not in marks.ORDINARY - words.PARTICLES
        )

    def _following(
        self,
        text: str,
        pattern: re.Pattern[str],
        least: int,
        wanted: Callable[[str, str, str], bool] | None = None,
        *,
        whole: bool = False,
    ) -> str:
        """Take out names of at least so many words that follow what a pattern finds, or with it as a `whole`."""
        out, at = [], 0
        searched = text if pattern in (marks.TITLE, marks.INITIALS) else plain(text)
        for found in pattern.finditer(searched):
            if found.start() < at:
                continue
            end = self._name_end(text, found.end(), 5)
            name = text[found.end() : end]
            if not name or len(name.split()) < least or (wanted and not wanted(found[0], name, text[end : end + 8])):
                continue
            start = found.start() if whole else found.end()
            out += [text[at:start], self._take(text[start:end])]
            at = end
        return "".join(out) + text[at:] if out else text

    @staticmethod
    def _introduces(by: str, name: str, after: str) -> bool:
        """`This is` introduces a person only if what follows looks like one."""
        if marks.SURE_INTRODUCTION.search(by):
            return True
        first = plain(marks.WORD.findall(name)[0])
        return len(name.split()) > 1 or first in words.given_names() or bool(marks.FROM.match(after))

    def _accented(self, found: re.Match[str]) -> str:
        """Two words with capitals, one of them with letters that English has not: seldom anything but a name."""
        if found[0].isascii() or not _like_a_name(found[0]) or _beside_an_address(found.string, *found.span()):
            return found[0]
        return self._take(found[0])

    def _given(self, text: str) -> str:
        """A common given name, with what follows it."""
        given = words.given_names()
        out, at = [], 0
        for found in marks.WORD.finditer(text):
            if found.start() < at or not found[0][0].isupper():
                continue
            word = re.split(r"['’-]", plain(found[0]), maxsplit=1)[0]
            if word not in given or _beside_an_address(text, *found.span()):
                continue
            end = self._name_end(text, found.start(), 5)
            if end <= found.end() and (word in marks.UNSURE or found[0].isupper()):
                continue
            out += [text[at : found.start()], self._take(text[found.start() : max(end, found.end())])]
            at = max(end, found.end())
        return "".join(out) + text[at:] if out else text

    def _again(self, text: str) -> str:
        """What was taken out at one place is taken out wherever else it stands."""
        names = sorted(self.found - marks.UNSURE, key=len, reverse=True)[: marks.MOST_NAMES]
        if not names:
            return text
        every = "|".join(re.escape(name) for name in names)
        pattern = re.compile(rf"(?<![\w.@/-])(?:{every})(?![\w@/]|\.\w|-\w)")
        out, at = [], 0
        for found in pattern.finditer(text):
            if found.start() >= at:
                out += [text[at : found.start()], NAME]
                # A given name that is known from elsewhere may have a family name here.
                at = found.end()
                if text[at : at + 1] in (" ", "\u00a0"):
                    at = max(self._name_end(text, found.start(), 5), at)
        return "".join(out) + text[at:]


_REPEATED = re.compile(r"\[name removed\](?:[ \t,.-]{0,3}\[name removed\])+")


def _is_capital(word: str) -> bool:
    """True for a capital letter in front (also behind `d'`), and for scripts that have none."""
    if len(word) > 2 and word[1] in "'’":
        return word[0].isupper() or word[2].isupper()
    return word[0].isupper() or word[0].lower() == word[0].upper()


def _beside_an_address(text: str, start: int, end: int) -> bool:
    """True for a part of a host name, an address, a path or a longer token."""
    before, after = text[start - 1 : start], text[end : end + 2]
    if before.isdigit() or after[:1].isdigit():
        return True
    if (before and before in "@./-_=%[") or (after and after[0] in "@/_=]"):
        return True
    return after[:1] in (".", "-") and after[1:2].isalnum()


def _like_a_name(text: str, *, loose: bool = False, most: int = 6) -> bool:
    """True if all of a short text can be a name. `loose`: in small letters too."""
    text = text.strip(" \t\u00a0,.;:!*_-–—~\"'“”()")
    if not text or len(text) > 60 or any(letter.isdigit() or letter in "@[]<>/=%" for letter in text):
        return False
    found = marks.WORD.findall(text)
    if not 1 <= len(found) <= most or marks.WORD.sub("", text).strip(" \t\u00a0.,'’\"-()“”&"):
        return False
    ordinary = [word for word in (plain(word).rstrip(".") for word in found) if word in marks.ORDINARY]
    if any(word not in words.PARTICLES and (word not in marks.BOTH or len(found) == 1) for word in ordinary):
        return False
    if len(ordinary) == len(found):
        return False
    if any(ord(word[0]) >= 0x2E80 and len(word) > 8 for word in found):
        return False
    if loose and len(found) <= 2:
        return True
    capitals = [word for word in found if _is_capital(word)]
    return bool(capitals) and all(_is_capital(word) or plain(word) in words.PARTICLES for word in found)
