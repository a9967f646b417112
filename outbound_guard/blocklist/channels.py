"""The official channels of receivers and lists: `channels.toml`, the packaged one or one of the provider's own."""

from __future__ import annotations

import functools
import re
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from outbound_guard.config import Config
from outbound_guard.config.reading import ConfigError, Mistake, Table, convert, read
from outbound_guard.delivery.answers import packaged as packaged_answers
from outbound_guard.delivery.phrases import Phrase, PhraseError, any_of, fold, phrase

Account = Literal["none", "free", "customer"]


class Programme(Table, frozen=True):
    """[[channel.programme]]: what a receiver offers to senders beforehand."""

    name: str
    page: str
    gives: Literal["complaints", "reputation", "allowlist"]
    account: Account = "free"


class Channel(Table, frozen=True):
    """[[channel]]: where one receiver or operator wants to be asked. `{subject}` in pages is the address or domain."""

    name: str
    kind: Literal["receiver", "list", "filter"]
    ended: bool = False
    """A list that nobody keeps any more; who still asks it is mistaken."""
    provider: str = ""
    """Its name in the rules of answers."""
    zones: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    """Phrases by which it is recognised in an answer."""
    domains: tuple[str, ...] = ()
    postmaster: str = ""
    errors: str = ""
    lookup: str = ""
    removal: str = ""
    contact: str = ""
    """A role address; never a person."""
    asks: tuple[str, ...] = ()
    account: Account = "none"
    waiting_days: float = 0.0
    """How long an answer usually takes; 0: there is none, or it is not known."""
    next_step: str = ""
    languages: tuple[str, ...] = ("en",)
    programme: tuple[Programme, ...] = ()
    note: str = ""

    def page(self, subject: str = "") -> str:
        """Where to ask: the form for removal, else the role address, else the postmaster's page; may be empty."""
        return (self.removal or self.contact or self.postmaster or self.lookup).replace("{subject}", subject)


class _File(Table, frozen=True):
    channel: tuple[Channel, ...] = ()


class Channels:
    """All channels, to be asked by provider, zone and text."""

    def __init__(self, channels: tuple[Channel, ...]) -> None:
        """Raises Mistake."""
        self.all = channels
        self._says: list[tuple[Channel, tuple[Phrase, ...]]] = []
        _check(channels)
        for number, channel in enumerate(channels):
            try:
                self._says.append((channel, tuple(phrase(text) for text in channel.says)))
            except PhraseError as error:
                raise Mistake(f"channel[{number}].says", str(error)) from error

    def of_zone(self, zone: str) -> Channel | None:
        """The channel of a list, by the zone it is asked in."""
        zone = zone.rstrip(".").lower()
        for channel in self.all:
            if any(zone == own or zone.endswith("." + own) for own in channel.zones):
                return channel
        return None

    def of_domain(self, domain: str) -> Channel | None:
        """The channel of the receiver of a domain's mail, as far as the file names the domain."""
        domain = domain.rstrip(".").lower()
        return next((channel for channel in self.all if domain in channel.domains), None)

    def list_in(self, text: str) -> tuple[Channel | None, str]:
        """The list that an answer names, and its zone, as it stands there or as the file has it; empty if unknown.

        A zone that no channel knows is a list as well if the answer says that it was asked.
        """
        folded = fold(text)
        hosts = [host.rstrip(".") for host in _HOST.findall(folded)]
        for host in hosts:
            if (channel := self.of_zone(host)) is not None and channel.kind != "receiver":
                return channel, host
        if found := _ASKED.search(folded):
            return None, found[1]
        for channel, says in self._says:
            if channel.kind == "list" and any_of(says, folded):
                return channel, channel.zones[0] if channel.zones else ""
        return None, ""

    def of_provider(self, provider: str | None, text: str = "") -> Channel | None:
        """The channel of a receiver or filter; `text` decides between several of one provider."""
        mine = [(channel, says) for channel, says in self._says if provider and channel.provider == provider]
        folded = fold(text)
        for channel, says in mine:
            if says and any_of(says, folded):
                return channel
        return next((channel for channel, says in mine if not says), mine[0][0] if mine else None)

    def filter_in(self, text: str) -> Channel | None:
        """The filter whose verdict a receiver passes on, if its answer names one."""
        folded = fold(text)
        return next((c for c, says in self._says if c.kind == "filter" and any_of(says, folded)), None)


_HOST = re.compile(r"(?<![\w.@-])(?:[a-z0-9_-]{1,63}\.){1,8}[a-z]{2,24}(?![\w-])")
_ASKED = re.compile(
    r"(?:(?:blocked|rejected|denied) using|(?:blocked|listed|found|blacklisted) (?:by|in|at|on)(?= "
    r"[a-z0-9_.-]{0,40}(?:bl|list|spam|zen)))"
    r" (?:the )?(?:dnsbl |rbl |list )?((?:[a-z0-9_-]{1,63}\.){1,8}[a-z]{2,24})(?![\w-])"
)
_LINK = re.compile(r"https://[^\s]{4,}")
_CONTACT = re.compile(r"[a-z0-9._-]{1,64}@[a-z0-9.-]{3,253}")


def load(path: Path) -> Channels:
    """The channels of a file. Raises ConfigError with the place of the mistake."""
    try:
        return Channels(convert(path, read(path), _File).channel)
    except Mistake as mistake:
        raise ConfigError(f"{path}: {mistake}") from None


@functools.cache
def packaged() -> Channels:
    """The channels that come with the product."""
    with resources.as_file(resources.files("outbound_guard.blocklist") / "channels.toml") as path:
        return load(path)


def channels_of(config: Config) -> Channels:
    """The channels that the configuration names, or the packaged ones. Raises ConfigError."""
    return load(config.resolve(config.blocklist.channels)) if config.blocklist.channels else packaged()


def _check(channels: tuple[Channel, ...]) -> None:
    names: set[str] = set()
    zones: dict[str, str] = {}
    known = packaged_answers().providers
    for number, channel in enumerate(channels):
        where = f"channel[{number}]"
        if channel.name in names:
            raise Mistake(f"{where}.name", f'there is a channel "{channel.name}" already')
        names.add(channel.name)
        if channel.provider and channel.provider not in known:
            raise Mistake(f"{where}.provider", f'"{channel.provider}" is no provider of the rules of answers')
        for zone in channel.zones:
            if zones.setdefault(zone, channel.name) != channel.name:
                raise Mistake(f"{where}.zones", f'"{zone}" already belongs to "{zones[zone]}"')
        for key in ("postmaster", "errors", "lookup", "removal"):
            if (page := getattr(channel, key)) and not _LINK.fullmatch(page):
                raise Mistake(f"{where}.{key}", f'"{page}" is no page; expected one that begins with https://')
        if channel.contact and not _CONTACT.fullmatch(channel.contact):
            raise Mistake(f"{where}.contact", f'"{channel.contact}" is no mail address')
        if not 0 <= channel.waiting_days <= 365:
            raise Mistake(f"{where}.waiting_days", f"{channel.waiting_days} is not possible; expected 0 to 365")


def as_json(channel: Channel, subject: str = "") -> dict[str, object]:
    """A channel for programs, with its pages made out for an address or domain."""
    found: dict[str, object] = msgspec.to_builtins(channel)
    for key in ("lookup", "removal"):
        found[key] = str(found[key]).replace("{subject}", subject)
    del found["says"], found["domains"]
    return found
