"""Texts without personal contact data, fit to be shown, exported and sent.

Addresses of people, telephone numbers, names, handles of messengers and postal addresses are taken out. Role
addresses, IP addresses, domains, codes, dates and ticket numbers stay: they are what a case is about. Redacting twice
changes nothing.
"""

from __future__ import annotations

import re

from outbound_guard.desk.redaction.namemarks import plain
from outbound_guard.desk.redaction.names import Names
from outbound_guard.desk.redaction.namewords import ENDINGS, ROLES
from outbound_guard.desk.redaction.telephone import redact_numbers

ADDRESS = "[address removed]"
HANDLE = "[handle removed]"
PLACE = "[postal address removed]"

_ROUNDS = 4
"""What is taken out may bring other names to light; so many times is looked again."""

_AT = (
    r"(?:@|＠|﹫|=40|%40|&#64;|&#x40;|&commat;|[ \t]{0,2}[\[({<][ \t]?(?:at|ät|arroba|@)[ "
    r"\t]?[\])}>][ \t]{0,2}|[ \t]@[ \t]?|@[ \t]|_at_)"
)
_DOT = r"(?:\.|[ \t]{0,2}[\[({<][ \t]?(?:dot|punkt|punto|ponto|point|\.)[ \t]?[\])}>][ \t]{0,2}|=2E|%2E|_dot_)"
_SOFT = r"(?:=\r?\n)?"
"""A line that quoted-printable broke in the middle (RFC 2045 6.7)."""
_ATOM = rf"[\w!#$'*+/?^`{{|}}~&%-]{_SOFT}"
_LOCAL = rf"(?:\"[^\"\n@]{{1,64}}\"|(?:{_ATOM}){{1,64}}(?:{_DOT}(?:{_ATOM}){{1,64}}){{0,6}})"
_LABEL = rf"(?:[\w-]{_SOFT}){{1,63}}"
_ADDRESS = re.compile(
    rf"(?<![\w.@])(?P<local>{_LOCAL}){_SOFT}{_AT}{_SOFT}(?P<domain>\[[\d.:a-fA-FIPv]"
    rf"{{3,50}}\]|{_LABEL}(?:{_DOT}{_LABEL}){{1,8}})",
    re.I,
)
_SPELLED = re.compile(
    r"(?<![\w.@])(?P<local>[\w+-]{1,40}(?:(?:\.|[ \t]dot[ \t])[\w+-]{1,40}){0,4})[ \t]at[ \t]"
    r"(?P<domain>[\w-]{1,63}(?:(?:\.|[ \t]dot[ \t])[\w-]{2,63}){1,4})(?![\w-])",
    re.I,
)
_CALL = re.compile(r"(?i)(?:message-id|references|in-reply-to|content-id|msgid|message id|mid|id)[ \t]*[:=]?[ \t]*<?$")
_MACHINE = re.compile(r"(?=[^@]*\d)[\w.$+=%-]{14,}")
_HEX = re.compile(r"[0-9a-fA-F.-]{12,}")
_ESCAPED = re.compile(r"^(?:3[Cc]|22|3[Dd]|3[Aa]|20)(?=[A-Za-z])")

_HANDLE = re.compile(
    r"(?i)(?<![\w@.])(?P<label>(?:skype|telegram|whatsapp|whats app|wechat|weixin|微信|threema|viber|"
    r"discord|icq|qq|jabber|xmpp|wickr|"
    r"snapchat|instagram|twitter|linkedin|facebook|mastodon|matrix|slack|signal|kakaotalk|kakao|line "
    r"id|x handle|irc|msn|aim|zalo|teams|telegramm|телеграм|скайп)"
    r"(?:[ \t]?(?:id|name|user|username|handle|nick|nickname|account|号|me))?[ \t]{0,2}(?:[:=：]|\bis\b|"
    r"[ \t]@)[ \t]{0,2})(?P<handle>[@+]?[\w.:#-]{3,64})"
)
_LINK = re.compile(
    r"(?i)(?:(?<![\w.-])(?:https?://)?(?:www\.)?(?:t\.me|telegram\.me|wa\.me|"
    r"api\.whatsapp\.com/send\?phone=|join\.skype\.com|linkedin\.com/in|linkedin\.com/pub|"
    r"facebook\.com|fb\.com|fb\.me|m\.me|twitter\.com|x\.com|instagram\.com|xing\.com/profile|"
    r"signal\.me/#p|line\.me/ti/p|vk\.com|calendly\.com|keybase\.io|github\.com)"
    r"/(?P<who>[@+\w.%~#=-]{2,80})/?|(?<![\w.-])(?:skype|sip|sips|xmpp|callto|tg|whatsapp|weixin|"
    r"facetime):(?P<uri>[\w@.+:%-]{3,80}))"
)
_MENTION = re.compile(r"(?<![\w@.:/\\=-])@[A-Za-z][\w.]{2,39}(?::[\w.-]{3,80})?(?![\w@.-])")
_PUBLIC = frozenset(
    [
        "share",
        "sharer",
        "groups",
        "pages",
        "company",
        "help",
        "about",
        "legal",
        "policies",
        "intent",
        "search",
        "hashtag",
        "home",
        "login",
    ]
)

_CITY = r"[^\W\d_a-zà-öø-ÿ][^\W\d_]{1,30}(?![^\W_])"
_CAPITAL = r"[^\W\d_a-zà-öø-ÿ][\w'’.-]{0,30}"
_PLACES = (
    re.compile(
        rf"(?<![\w.:/-])\d{{1,5}}[A-Za-z]?,?[ \t]+(?:{_CAPITAL}[ \t]+){{1,4}}(?:Street|Str?|Avenue|Ave|"
        rf"Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Way|"
        r"Court|Ct|Square|Sq|Place|Pl|Parkway|Pkwy|Terrace|Close|Crescent|Highway|Hwy|Row|"
        r"Circle)\b\.?(?:,?[ \t]*(?:Suite|Ste|Apt|Unit|Floor|Fl|#)\.?[ \t]?\w{1,6})?"
        rf"(?:,[ \t]*{_CITY}(?:[ \t]{_CITY}){{0,2}}(?:,[ \t]*[A-Z]{{2}})?(?:[ "
        rf"\t]+\d{{5}}(?:-\d{{4}})?|[ \t]+[A-Z]{{1,2}}\d[A-Z\d]?[ \t]\d[A-Z]{{2}})?)?"
    ),
    re.compile(
        r"(?<![\w.@/-])(?:[A-ZÄÖÜ][\wäöüß.-]{1,30}[ -]){0,3}[A-ZÄÖÜ]?[\wäöüß.-]{0,30}(?:straße|"
        r"strasse|str\.|Straße|Strasse|weg|gasse|platz|allee|ring|damm|ufer|laan|straat|weg|gatan|"
        r"vägen|gade|vej|veien)"
        r"[ \t]+\d{1,4}[ \t]?[a-zA-Z]?(?![\w.])(?:,?[ \t]*(?:[A-Z]{1,2}-)?\d{4,5}[ \t]+[A-ZÄÖÜ][\wäöüß.-]{2,30})?"
    ),
    re.compile(
        r"(?i)(?<![\w.@/-])(?:\d{1,4}(?:[ \t]?(?:bis|ter))?,?[ \t]+)?(?:rue|avenue|boulevard|bd|"
        r"chemin|impasse|quai|allée|place)[ \t]+(?:de la|de l'|de|du|des|d'|la|le)?[ "
        r"\t]?[A-Z][\w'’. -]{2,40}(?<=[\w])(?:,[ \t]*\d{5}[ \t]+[A-Z][\w' -]{2,30})"
    ),
    re.compile(
        r"(?<![\w.@/-])\d{1,4}(?:[ \t]?(?:bis|ter))?,?[ \t]+(?:[Rr]ue|[Aa]venue|[Bb]oulevard|"
        r"[Bb]d|[Cc]hemin|[Ii]mpasse|[Qq]uai|[Aa]llée|[Pp]lace)[ \t]+(?:de la |de l'|de |du |des |d'|"
        r"la |le )?[A-ZÀ-Ý][\w'’-]{1,30}(?:[ -][A-ZÀ-Ýa-z][\w'’-]{1,30}){0,3}"
    ),
    re.compile(
        r"(?<![\w.@/-])(?:Calle|C/|Avenida|Avda\.?|Av\.|Plaza|Paseo|Via|Viale|Piazza|Corso|Rua|"
        r"Travessa|Praça|ul\.|ulica|al\.|Aleja|ул\.|улица|пр-т|проспект)[ "
        r"\t]*(?:[^\W\d_][\w'’.-]{0,30}[ \t]?){1,4},?[ \t]*(?:n[º°.o]?[ \t]*|д\.[ \t]*|дом[ "
        r"\t]*)?\d{1,4}(?:[ \t]?/[ \t]?\d{1,4})?(?![\w.])"
    ),
    re.compile(
        r"(?i)(?<!\w)(?:p\.?[ \t]?o\.?[ \t]?box|postfach|apartado|casella postale|boîte "
        r"postale|bp)[ \t]+\d{1,6}(?!\w)"
    ),
    re.compile(
        r"(?m)^(?P<keep>[ \t>|]{0,40})(?:[A-Z]{1,2}-)?\d{4,5}(?:[ \t]?[A-Z]{2})?[ "
        r"\t]+[A-ZÄÖÜÀ-Ý][\w'’-]{2,30}(?:[ \t-][\w'’/(]{1,20}\)?){0,3}[ \t]*,?[ \t]*$"
    ),
    re.compile(
        r"(?m)^(?P<keep>[ \t>|]{0,40})[A-Z][\w'’. -]{2,30},[ \t]*[A-Z]{2}[ "
        r"\t]+\d{5}(?:-\d{4})?[ \t]*(?:,?[ \t]*(?:USA|United States))?[ \t]*$"
    ),
    re.compile(
        r"(?m)^(?P<keep>[ \t>|]{0,40})(?:[A-Z][\w'’ -]{2,30},?[ \t]+)?[A-Z]{1,2}\d[A-Z\d]?[ "
        r"\t]\d[A-Z]{2}[ \t]*$"
    ),
    re.compile(r"〒[ \t]?\d{3}-\d{4}[^\n]{0,80}"),
)


def redact(text: str) -> str:
    """The text without personal contact data. Never raises; redacting the result again changes nothing."""
    names = Names()
    for _ in range(_ROUNDS):
        before = text
        # Addresses come first: what stands before one is a name, and may not be torn out of one that is spelled out.
        text = _contacts(names.redact(_places(_addresses(text))))
        if text == before:
            break
    return text


def is_role(local: str) -> bool:
    """True for the local part of a role address: all its words are those of roles, not of people."""
    local = plain(re.sub(r"=\r?\n", "", local)).strip("\"'")
    parts = [part for part in re.split(r"[^a-zà-ÿ]+", local) if part]
    return bool(parts) and any(len(part) > 1 for part in parts) and all(
        part in ROLES or part.endswith(ENDINGS) for part in parts
    )  # fmt: skip


def _addresses(text: str) -> str:
    return _SPELLED.sub(_spelled, _ADDRESS.sub(_address, text))


def _contacts(text: str) -> str:
    text = _LINK.sub(_link, text)
    text = _HANDLE.sub(_handle, text)
    text = _MENTION.sub(lambda found: HANDLE, text)
    return redact_numbers(text)


def _places(text: str) -> str:
    for place in _PLACES:
        text = place.sub(lambda found: (found.groupdict().get("keep") or "") + PLACE, text)
    return text


def _address(found: re.Match[str]) -> str:
    local = found["local"]
    escaped = _ESCAPED.match(local) if found.string[found.start() - 1 : found.start()] in ("=", "%") else None
    lead = escaped[0] if escaped else ""
    bare = local[len(lead) :]
    if is_role(re.sub(_DOT, ".", bare, flags=re.I)) or local.startswith("//"):
        return found[0]
    if _is_message_id(found, bare):
        return found[0]
    return lead + ADDRESS


def _is_message_id(found: re.Match[str], local: str) -> bool:
    """A message-id stays if its left side was made by a machine."""
    before = found.string[max(0, found.start() - 40) : found.start()]
    named = before.endswith("<") and (
        _CALL.search(before) is not None or found.string[found.end() : found.end() + 1] == ">"
    )
    if not named and not _CALL.search(before):
        return False
    digits = sum(letter.isdigit() for letter in local)
    return bool(_HEX.fullmatch(local) and digits > 3) or bool(
        _MACHINE.fullmatch(local) and digits > 3 and _CALL.search(before)
    )


def _spelled(found: re.Match[str]) -> str:
    """`john at example dot com`. Without a dot it is prose: "delivered at example" stays."""
    local, domain = found["local"], found["domain"]
    top = re.split(r"\.|[ \t]dot[ \t]", domain, flags=re.I)[-1]
    spelled = " dot " in found[0].lower()
    if not (spelled or _sounds_like_an_address(local, found)) or not 2 <= len(top) <= 12 or top.isdigit():
        return found[0]
    return found[0] if is_role(re.sub(r"[ \t]dot[ \t]", ".", local, flags=re.I)) else ADDRESS


def _sounds_like_an_address(local: str, found: re.Match[str]) -> bool:
    before = found.string[max(0, found.start() - 12) : found.start()].lower()
    return "." in local or before.rstrip().endswith(("mail", "email", "e-mail", "mail:", "email:", "e-mail:", "<", "("))


def _link(found: re.Match[str]) -> str:
    who = found["who"] or found["uri"]
    if plain(who) in _PUBLIC or is_role(who.partition("@")[0]):
        return found[0]
    return found[0].replace(who, HANDLE)


def _handle(found: re.Match[str]) -> str:
    label, handle = plain(found["label"]), found["handle"]
    if label.startswith(("qq", "icq")) and not handle.isdigit():
        return found[0]
    if label.startswith(("signal", "teams", "slack", "irc", "matrix", "line")) and not (
        handle[0] in "@+" or "id" in label or "." in handle[:-1]
    ):
        return found[0]
    if plain(handle) in ROLES or handle.startswith(("http", "[")):
        return found[0]
    return found["label"] + HANDLE
