"""Telephone numbers in letters, told from the other numbers there: addresses, dates, codes, tickets, sizes."""

from __future__ import annotations

import re

NUMBER = "[number removed]"

_WORD = (
    r"tel|telephone|telefon|telefono|teléfono|telefone|téléphone|tél|tlf|tfn|phone|ph|fon|fax|telefax|"
    r"mobile|mobil|mob|cell|cellphone|cellular|"
    r"handy|portable|celular|movil|móvil|cellulare|gsm|direct|durchwahl|office|desk|hotline|call|"
    r"whatsapp|signal|viber|sms|voice|voip|did|"
    r"switchboard|zentrale|puhelin|puh|телефон|тел|моб|факс|电话|電話|手机|手機|携帯|전화|[tmpfcdow]"
)
_EXTENSION = (
    r"(?:[ \t]{0,2},?[ \t]?(?:ext|extn|extension|x|durchwahl|dw|poste|int|interno|ramal|доб|"
    r"#)\.?[ \t:]?\d{1,6})?"
)
_SEPARATOR = r"[ \t\u00a0.()/\-‐‑–−·]"
_LABELLED = re.compile(
    rf"(?i)(?<![\w@./-])(?P<label>(?:{_WORD})(?:[ \t]?(?:no|nr|number|line|nummer|phone|phone number|"
    rf"#))?\.?(?:[ \t]?\([^()\n]{{1,15}}\))?[ \t]{{0,3}}[:：.|=]?[ \t]{{0,3}}(?:is[ \t])?)"
    rf"(?P<number>(?:\+|\(|00)?\d(?:{_SEPARATOR}{{0,3}}\d){{4,16}}{_EXTENSION})(?![\w@])"
)
_INTERNATIONAL = re.compile(
    rf"(?<![\w.:@/#=+-])(?:\+|＋|\(\+|00(?=[1-9]))[ "
    rf"\t]?\d(?:{_SEPARATOR}{{0,3}}\d){{6,15}}{_EXTENSION}(?![\w@])",
    re.I,
)
_URI = re.compile(r"(?i)(?:tel|callto|sms|fax|facetime):[+\d][\d()., ;=extx-]{4,30}\d")
_AMERICAN = re.compile(
    rf"(?<![\w.:@/#-])(?:1[ .-])?(?:\(\d{{3}}\)[ \t]?|\d{{3}}[ \t.-])\d{{3}}[ "
    rf"\t.-]\d{{4}}{_EXTENSION}(?![\w@.-]*\d)",
    re.I,
)
_VANITY = re.compile(
    r"(?<![\w.-])1?-?8(?:00|33|44|55|66|77|"
    r"88)-(?=[\dA-Z-]{0,8}[A-Z])[\dA-Z]{2,4}-?[\dA-Z]{3,7}(?![\w-])"
)
_NATIONAL = re.compile(
    rf"(?<![\w.:@/#+=-])\(?0\d{{1,5}}\)?(?:{_SEPARATOR}{{1,3}}\d{{1,8}}){{1,6}}{_EXTENSION}"
    rf"(?![\w@.:/-]*\d)(?![\w@%])",
    re.I,
)
_BRACKETED = re.compile(
    rf"(?<![\w.:@/#-])\(\d{{2,5}}\)[ \t]?\d{{3,5}}(?:[ "
    rf"\t.-]\d{{2,5}}){{0,3}}{_EXTENSION}(?![\w@.:/-]*\d)(?![\w@%])",
    re.I,
)
_GROUPED = re.compile(
    r"(?<![\w.:@/#+=-])(?:1[3-9]\d[ -]?\d{4}[ -]?\d{4}|[6-9]\d{4}[ -]\d{5}|8[ "
    r"-]\(?\d{3}\)?[ -]\d{3}[ -]\d{2}[ -]\d{2}|0[1-9]\d{8,9})(?![\w@.:/-]*\d)(?![\w@%])"
)
_ALONE = re.compile(
    rf"(?m)^(?P<keep>[ \t>|]{0, 40})(?=[^\n]*[ .()/-])\(?\d{{2,5}}\)?(?:[ "
    rf".\-/]\d{{2,5}}){{1,5}}{_EXTENSION}[ \t]*$",
    re.I,
)
_NOT_BEFORE = re.compile(
    r"(?i)(?:ticket|case|ref|reference|id|incident|request|order|invoice|number|nr|no|rt|serial|bug|"
    r"issue|account|customer|as|asn|bytes|port|pid|uid|size|rfc|code|error|kd-nr|kundennummer|"
    r"vorgang|#)[ \t]?(?:id|no|nr|number|#)?[ \t.:#\[(]{0,3}$"
)
_PAIRS = re.compile(r"0\d(?:[ .-]\d\d){4}")
"""As in France; nothing else looks so."""
_SHORT = re.compile(
    r"(?i)(?<![\w.])(?P<label>(?:ext|extn|extension|durchwahl|nebenstelle|poste|"
    r"interno|ramal)\.?[ \t]?)\d{2,6}(?![\w.])"
)
_DATE = re.compile(
    r"\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}(?:[ T]{1,2}\d.*)?|\d{1,2}[-./]\d{1,2}[-./](?:19|20)?\d{2}(?:[ "
    r",T]{1,2}\d.*)?|(?:19|20)\d{2}[ ]?[-–][ ]?(?:19|20)\d{2}"
)
_DOTTED = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_CODE = re.compile(r"[245]\d\d[ -][245]\.\d{1,3}\.\d{1,3}")


def redact_numbers(text: str) -> str:
    """The text without telephone numbers, labelled or in a form that only they have."""
    text = _URI.sub(lambda found: found[0].partition(":")[0] + ":" + NUMBER, text)
    text = _LABELLED.sub(_labelled, text)
    for pattern in (_INTERNATIONAL, _AMERICAN, _VANITY, _NATIONAL, _BRACKETED, _GROUPED):
        text = pattern.sub(_bare, text)
    text = _SHORT.sub(lambda found: found["label"] + NUMBER, text)
    return _ALONE.sub(_alone, text)


def _labelled(found: re.Match[str]) -> str:
    label, number = found["label"], found["number"]
    sure = len(label.strip(" .:|=#(")) > 2
    if _other(number) or (not sure and not re.search(r"[:.|=]", label) and not number.startswith(("+", "("))):
        return found[0]
    if sum(letter.isdigit() for letter in number) < (5 if sure else 7):
        return found[0]
    return label + NUMBER


def _bare(found: re.Match[str]) -> str:
    number = found[0]
    digits = sum(letter.isdigit() for letter in number)
    before = found.string[max(0, found.start() - 24) : found.start()]
    if _NOT_BEFORE.search(before) and not _PAIRS.fullmatch(number):
        return found[0]
    if _other(number) or not (7 <= digits <= 20 or re.search("[A-Z]", number)):
        return found[0]
    return NUMBER


def _alone(found: re.Match[str]) -> str:
    number = found[0].strip(" \t>|")
    digits = sum(letter.isdigit() for letter in number)
    if _other(number) or not 7 <= digits <= 15:
        return found[0]
    return found["keep"] + NUMBER


def _other(number: str) -> bool:
    """True for a date, an IP address or codes of mail."""
    number = number.strip()
    return bool(_DATE.fullmatch(number) or _DOTTED.search(number) or _CODE.match(number))
