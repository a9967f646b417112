"""By what names are found in letters: the patterns of headers, greetings, closings, attributions, titles.

All are bounded, so that no text can make them go back and forth without end.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from outbound_guard.desk.redaction import namewords as words
from outbound_guard.desk.redaction.namewords import words_of

WORD = re.compile(r"(?:[^\W\d_]\.(?:[ -]?[^\W\d_]\.)*)(?!\w)|[^\W\d_]+(?:['’\-][^\W\d_]+)*")
BLANKS = re.compile(r"[ \t\u00a0]{1,3}")
BREAK = re.compile(r"(\r\n|\n|\r|<(?![^<>\n]{0,200}@)/?[A-Za-z][^<>\n]{0,300}>|&nbsp;)")
PREFIX = re.compile(r"[ \t\u00a0]*(?:(?:>|&gt;|\|)[ \t]?){0,20}[ \t*_]{0,20}")
LONGEST_LINE = 400
"""Letters; names of people stand in short lines, and longer ones are prose or data."""
MOST_NAMES = 200

UNSURE = words_of(
    "florence georgia virginia victoria santiago jack guy ken pascal jasmin ben iris ross terry kay "
    "magnus san jesus rosa "
    "viola stella christian nice paris roman sofia milan adrian gordon cyril udo ana ted don ron"
)
"""Given names that are places, products or words as well; alone they stay."""


BOTH = words_of("an do so my jan june april august juli sa mi le may")
"""Ordinary words that are names too. Beside another word of a name they are taken for these."""


_PLAIN = {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "t", "æ": "a", "œ": "o"}


@functools.lru_cache(4096)
def _plain_letter(letter: str) -> str:
    if (lower := letter.lower()) in _PLAIN:
        return _PLAIN[lower]
    return (unicodedata.normalize("NFKD", letter)[0].lower() or letter)[0]


def plain(text: str) -> str:
    """A text in small letters without accents, letter for letter, so that places in it stay the same."""
    if text.isascii():
        return text.lower()
    return "".join(map(_plain_letter, text))


def _any_of(texts: str) -> str:
    """A pattern for one of these texts, as plain() shows them; `ß` may stand there as one letter or two."""
    found = {plain(text) for text in texts.split("|")}
    found |= {text.replace("ss", "ß") for text in found if "ss" in text}
    return "(?:" + "|".join(re.escape(text) for text in sorted(found, key=len, reverse=True)) + ")"


ORDINARY = frozenset(plain(word) for word in words.ORDINARY)
HEADER = re.compile(
    _any_of(
        "from|to|cc|bcc|reply-to|sender|resent-from|resent-to|von|an|kopie|antwort an|de|a|para|da|"
        "per|para|van|aan|fra|til|"
        "fran|till|od|do|komu|от|кому|копия|отправитель|发件人|收件人|抄送|差出人|宛先|envelope-from|x-sender|"
        "errors-to|organizer|attendee"
    )
    + r"[ \t]*(?:\*\*?)?[ \t]*[:：][ \t]*"
)
GREETING = re.compile(_any_of(words.GREETINGS) + r"(?![a-zà-ÿß'а-я])[ \t]*,?[ \t]*")
CLOSING = re.compile(_any_of(words.CLOSINGS) + r"(?![^\W\d_])[ \t]*[,.!;:\-–—*_ \t،，、。]*")
DASHED = re.compile(r"[-–—~/]{1,2}[ \t]?(?=[^\W\d_])")
LABEL = re.compile(r"(?<!\w)" + _any_of(words.LABELS) + r"[ \t]*[:：][ \t]*")
TITLE = re.compile(
    r"(?<![\w.])(?:" + "|".join(re.escape(title) for title in sorted(words.TITLES.split(), key=len, reverse=True))
    + r")\.?[ \t]{1,3}(?=[^\W\d_])"
)  # fmt: skip
CALLED = re.compile(
    "(?:"
    + "|".join(re.escape(plain(title)) for title in sorted(words.TITLES.split(), key=len, reverse=True))
    + r")\.?[ \t]{1,3}"
)
DEPARTMENT = re.compile(r"(?i)\b(?:team|desk|support|department|dept)\b")
AND = re.compile(r"[ \t]*(?:,|&|/|\b(?:and|und|et|y|e|i|och|og|en)\b)[ \t]*", re.I)
INTRODUCTION = re.compile(r"(?<!\w)" + _any_of(words.INTRODUCTIONS) + r"[ \t]{0,3}(?=[^\W\d_])")
SURE_INTRODUCTION = re.compile(
    r"name|nome|nombre|naam|navn|namn|m'appelle|llamo|chiamo|imie|jmenuji|"
    r"hedder|heter|heisse|зовут|我叫|私は"
)
FROM = re.compile(r",? (?:from|of|at|von|de)\b")
SPOKEN = re.compile(
    r"(?<!\w)(?:spoke|speak|talked|talk|spoken|contacted|contact|called|call|asked|ask|met|cc|cc'd|"
    r"behalf|escalated|forwarded|"
    r"assigned|addressed|wrote|written|email|emailed|phone|phoned|colleague|colleagues|coworker|boss|"
    r"manager|supervisor|assistant|kollege|kollegin|"
    r"mitarbeiter|collegue|colega|collega|kontaktiert|contacter|contactar|contattare)"
    r"(?:[ \t](?:with|to|of|from|by|mit|an|a|con|avec))?[ \t]{1,3}(?=[^\W\d_])"
)  # fmt: skip
INITIALS = re.compile(r"(?<![\w.])(?![UPE]\.[SKOU]\.)(?:[A-Z]\.[ -]?){1,3}(?=[A-Z][a-z]{2})")
SHOWN = re.compile(
    r"(?:[\"'“„]|&quot;|&#34;)?(?P<name>[^\W\d_][^\n<>@\"“”:;|\[\]{}]{1,60}?)(?:[\"'”“]|&quot;|&#34;)?[ \t\u00a0]{0,3}"
    r"(?:<|&lt;|\[(?:mailto:)?|\((?:mailto:)?|=3C|<mailto:)(?=[^\s<>@()\[\]]{1,64}(?:@|=40|%40|\[at\]|"
    r"\(at\)| at )|\[address removed\])"
)
ACCENTED = re.compile(
    r"(?<=[^\W\d_][ ,(] )[A-ZÀ-ÖØ-ÞĀ-Ž][a-zà-öø-ÿā-ž'’-]{1,30}(?:[ ][A-ZÀ-ÖØ-ÞĀ-Ž][a-zà-öø-ÿā-ž'’-]{1,30}){1,3}"
    r"|(?<=[a-z,(] )[A-ZÀ-ÖØ-ÞĀ-Ž][a-zà-öø-ÿā-ž'’-]{1,30}(?:[ ][A-ZÀ-ÖØ-ÞĀ-Ž][a-zà-öø-ÿā-ž'’-]{1,30}){1,3}"
)
ENCODED = re.compile(r"((?:=\?[\w-]{2,40}\?[BbQq]\?[^?\s]{0,200}\?=[ \t\r\n]{0,4}){1,8})(?=\"?[ \t]{0,3}(?:<|&lt;))")
ANCHOR = re.compile(r"(<a\b[^>]{0,300}mailto:[^>]{0,300}>)([^<@]{1,80})(</a>)", re.I)
WROTE = _any_of(
    "wrote|writes|schrieb|hat geschrieben|a écrit|escribió|ha scritto|escreveu|schreef|skrev|napsal|"
    "napsala|napisał|napisała|"
    "pisze|пишет|писал|писала|написал|написала|a scris|kirjoitti|yazdı|írta|写道|寫道|wrote in|said|a dit"
)
ATTRIBUTION = re.compile(
    r"(?m)^[ \t>|]{0,40}(?:&gt;[ \t]?)*(?:on|le|el|il|em|op|den|dne|w dniu|am|dia|pe|a|no|at|\d{1,4})\b[^\n]{0,200}?"
    r"(?:\n[ \t>|]{0,40}(?:&gt;[ \t]?)*[^\n]{0,120}?){0,2}?(?<![^\W\d_])" + WROTE + r"[^\n:]{0,80}[:：]"
)
WRITER = re.compile(
    r"(?m)^[ \t>|]{0,40}(?:&gt;[ \t]?)*[^\n:]{1,120}?(?<![^\W\d_])" + WROTE + r"(?:[ \t](?:am|on|le|"
    r"el|at|in)[^\n:]{0,60}|[^\n:]{0,60})[:：]"
)
HONOURED = re.compile(
    r"([\u3040-\u30ff\u3400-\u9fff々]{1,6})(様|さま|さん|氏|殿|先生|女士|小姐|经理)|([가-힣]{2,4})[ ]?(님|씨)"
)
NOBODY = ("皆", "お客", "客", "各位", "高", "고객", "여러분", "担当者", "ご担当者", "御中", "管理者")
