"""What another server's answer means: the rules of answers.toml, read once and asked by text.

A rule is a list of phrases, not of regular expressions, for two reasons: people who know mail can read and mend it, and
no answer, however long or hostile, can take longer than its length allows (phrases.py).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from outbound_guard.config.reading import ConfigError, Table, convert, read
from outbound_guard.delivery.phrases import LONGEST, Phrase, PhraseError, any_of, fold, phrase
from outbound_guard.reply import Reply

CLASSES = (
    "our_address_blocked",
    "content",
    "policy_auth",
    "rate",
    "unknown_user",
    "mailbox_full",
    "greylisting",
    "tls",
    "dns",
    "other",
)
"""What `classify` and `blocked` may say; finer ones stand beneath them, as in `content.virus`."""

Side = Literal["provider", "customer", "recipient", "receiver"]
Abuse = Literal["no", "likely", "named"]


class Meaning(msgspec.Struct, frozen=True):
    """What an answer means. `class_` may be a finer one, `provider` is None when unknown."""

    class_: str
    provider: str | None
    rule: str
    side: Side
    advice: str
    abuse: Abuse = "no"
    """Whether the answer accuses the message or its sender."""

    @property
    def coarse(self) -> str:
        """One of CLASSES."""
        return self.class_.partition(".")[0]


class _Class(Table, frozen=True):
    side: Side
    advice: str
    abuse: Abuse = "no"


class _Provider(Table, frozen=True):
    says: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class _Rule(Table, frozen=True):
    name: str
    class_: str = msgspec.field(name="class")
    says: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    not_: tuple[str, ...] = msgspec.field(name="not", default=())
    codes: tuple[str, ...] = ()
    from_: tuple[str, ...] = msgspec.field(name="from", default=())
    side: Side | None = None
    advice: str = ""
    abuse: Abuse | None = None


class _File(Table, frozen=True):
    class_: dict[str, _Class] = msgspec.field(name="class")
    words: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 -- msgspec gives every instance its own.
    provider: dict[str, _Provider] = {}  # noqa: RUF012 -- msgspec gives every instance its own.
    rule: tuple[_Rule, ...] = ()


class _Ready(msgspec.Struct, frozen=True):
    """A rule, compiled."""

    name: str
    class_: str
    says: tuple[Phrase, ...]
    also: tuple[Phrase, ...]
    not_: tuple[Phrase, ...]
    codes: tuple[_Code, ...]
    from_: frozenset[str]
    side: Side
    advice: str
    abuse: Abuse

    def fits(self, text: str, reply: Reply, provider: str | None) -> bool:
        return (
            (not self.from_ or provider in self.from_)
            and (not self.codes or any(code.fits(reply) for code in self.codes))
            and (not self.says or any_of(self.says, text))
            and (not self.also or any_of(self.also, text))
            and not any_of(self.not_, text)
        )


class _Code(msgspec.Struct, frozen=True):
    """ "550", "5.7.1", "x.7.25", "5.7.606-649"."""

    code: int
    parts: tuple[int, int] = (0, 0)
    """First digit (0: either) and subject of an enhanced code."""
    details: range = range(0)

    def fits(self, reply: Reply) -> bool:
        if self.code:
            return reply.code == self.code
        found = _ENHANCED.fullmatch(reply.enhanced)
        return (
            found is not None
            and self.parts[0] in (0, int(found[1]))
            and self.parts[1] == int(found[2])
            and int(found[3]) in self.details
        )


class Answers:
    """The rules, compiled."""

    def __init__(self, file: _File, path: Path) -> None:
        """Raises ConfigError."""
        missing = [name for name in CLASSES if name not in file.class_]
        unknown = [name for name in file.class_ if name not in CLASSES]
        if missing or unknown:
            raise ConfigError(f"{path}: class: must be {', '.join(CLASSES)}; not {', '.join(missing + unknown)}")
        names: set[str] = set()
        self._rules: list[_Ready] = []
        for at, rule in enumerate(file.rule):
            where = f"{path}: rule[{at}]"
            if rule.name in names:
                raise ConfigError(f"{where}.name: there is a rule `{rule.name}` already")
            names.add(rule.name)
            self._rules.append(_ready(rule, file, where))
        self._providers = [
            (
                name,
                _phrases(table.says, file.words, f"{path}: provider.{name}.says"),
                tuple(host.lower() for host in table.hosts),
            )
            for name, table in file.provider.items()
        ]
        self._else = file.class_["other"]

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of all providers that can be recognised."""
        return tuple(name for name, _, _ in self._providers)

    def meaning(self, reply: Reply) -> Meaning:
        """What an answer means. An accepted one means nothing: `other.accepted`."""
        text = fold(f"{reply.code or ''} {reply.enhanced} {reply.text}")
        provider = self.provider(text)
        if reply.accepted:
            return Meaning("other.accepted", provider, "", "receiver", "")
        for rule in self._rules:
            if rule.fits(text, reply, provider):
                return Meaning(rule.class_, provider, rule.name, rule.side, rule.advice, rule.abuse)
        return Meaning("other", provider, "", self._else.side, self._else.advice)

    def provider(self, text: str) -> str | None:
        """Whose server wrote a text: by words that only they use, else by the names of hosts in it."""
        text = fold(text)
        for name, says, _ in self._providers:
            if any_of(says, text):
                return name
        hosts = _HOST.findall(text)
        for name, _, domains in self._providers:
            if any(host == domain or host.endswith("." + domain) for host in hosts for domain in domains):
                return name
        return None


# A host name with at least one dot; an address's domain counts too, since recipients are often named.
_HOST = re.compile(r"(?<![a-z0-9.-])[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}(?![a-z0-9-])")
_MAILBOX = re.compile(r"([<(])[^\s<>()@]{1,64}@")
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")
_CODE = re.compile(r"([45x])\.(\d{1,3})\.(\d{1,3})(?:-(\d{1,3}))?")


def load(path: Path) -> Answers:
    """The rules of a file. Raises ConfigError with the place of the mistake."""
    return Answers(convert(path, read(path), _File), path)


@functools.cache
def packaged() -> Answers:
    """The rules that come with the product."""
    with resources.as_file(resources.files("outbound_guard.delivery") / "answers.toml") as path:
        return load(path)


def meaning_of(reply: Reply) -> Meaning:
    """What an answer means by the packaged rules."""
    # Who the mailbox belongs to means nothing, and without it most answers are the same few.
    return _meaning_of(Reply(reply.code, reply.enhanced, _MAILBOX.sub(r"\1x@", reply.text[:LONGEST])))


@functools.lru_cache(4096)
def _meaning_of(reply: Reply) -> Meaning:
    return packaged().meaning(reply)


def _ready(rule: _Rule, file: _File, where: str) -> _Ready:
    coarse = rule.class_.partition(".")[0]
    if coarse not in CLASSES:
        raise ConfigError(f"{where}.class: `{rule.class_}` is not known; known: {', '.join(CLASSES)}")
    if not rule.says and not rule.codes:
        raise ConfigError(f"{where}: needs `says` or `codes`")
    if unknown := [name for name in rule.from_ if name not in file.provider]:
        raise ConfigError(f"{where}.from: no provider `{unknown[0]}` in this file")
    class_ = file.class_[coarse]
    return _Ready(
        rule.name,
        rule.class_,
        _phrases(rule.says, file.words, f"{where}.says"),
        _phrases(rule.also, file.words, f"{where}.also"),
        _phrases(rule.not_, file.words, f"{where}.not"),
        tuple(_code(code, f"{where}.codes") for code in rule.codes),
        frozenset(rule.from_),
        rule.side or class_.side,
        rule.advice or class_.advice,
        rule.abuse or class_.abuse,
    )


def _phrases(texts: tuple[str, ...], words: Mapping[str, tuple[str, ...]], where: str) -> tuple[Phrase, ...]:
    try:
        return tuple(phrase(text, words) for text in texts)
    except PhraseError as error:
        raise ConfigError(f"{where}: {error}") from error


def _code(text: str, where: str) -> _Code:
    if re.fullmatch(r"[45]\d\d", text):
        return _Code(int(text))
    if found := _CODE.fullmatch(text):
        first = int(found[3])
        return _Code(
            0,
            (0 if found[1] == "x" else int(found[1]), int(found[2])),
            range(first, int(found[4] or first) + 1),
        )
    raise ConfigError(f'{where}: `{text}` is no code; right are "550", "5.7.1", "x.7.25", "5.7.606-649"')
