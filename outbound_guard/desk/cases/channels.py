"""Where to turn to for a list or receiver: its official channel, what it asks for, and how long to wait."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import msgspec

from outbound_guard.blocklist.channels import Channel, Channels, load, packaged
from outbound_guard.blocklist.lists import lists_of
from outbound_guard.config import Config, ConfigError
from outbound_guard.ledger.records import CaseSubject

WAITING = 3.0
"""Days to wait for an operator of whom no waiting time is known."""

_ACCOUNTS = {
    "none": "none is needed",
    "free": "a free account is needed",
    "customer": "only for its customers",
}


_log = logging.getLogger(__name__)


class Way(msgspec.Struct, frozen=True):
    """How an operator wants to be asked."""

    name: str
    page: str = ""
    """The form, or else the role address or page, where it is asked."""
    lookup: str = ""
    """Page that says why something is listed."""
    asks: tuple[str, ...] = ()
    account: str = ""
    waiting_days: float = 0.0
    """0: not known."""
    next_step: str = ""
    """What can be done if there is no answer."""
    programmes: tuple[str, ...] = ()
    """Feedback loops and pages for senders: name and page."""
    note: str = ""


def way(config: Config, about: CaseSubject) -> Way:
    """The official channel of whoever lists or refuses a subject, as far as it is known."""
    subject = about.subject if about.subject != "receiver" else ""
    channel = _channel(_channels(config), about)
    if channel is not None:
        return Way(
            name=channel.name,
            page=channel.page(subject),
            lookup=channel.lookup.replace("{subject}", subject),
            asks=channel.asks,
            account=_ACCOUNTS[channel.account],
            waiting_days=channel.waiting_days,
            next_step=channel.next_step,
            programmes=tuple(f"{one.name}: {one.page}" for one in channel.programme),
            note=channel.note,
        )
    try:
        dnsbl = next((one for one in lists_of(config).lists if one.label == about.source), None)
    except ConfigError:
        dnsbl = None
    if dnsbl is None:
        return Way(about.source)
    page, lookup = (text.replace("{subject}", subject) for text in (dnsbl.removal, dnsbl.lookup))
    return Way(name=dnsbl.name or about.source, page=page, lookup=lookup)


def waiting_days(config: Config, about: CaseSubject) -> float:
    """How many days whoever lists or refuses a subject may take to answer."""
    return way(config, about).waiting_days or WAITING


def next_step(config: Config, about: CaseSubject) -> str:
    """What to do about one that has not answered."""
    found = way(config, about)
    if found.next_step:
        return found.next_step
    return f"ask again at {found.page}" if found.page else "ask again, by another channel if there is one"


def _channels(config: Config) -> Channels:
    """Those of the configuration; while its file cannot be used, the packaged ones: work goes on."""
    if not config.blocklist.channels:
        return packaged()
    path = config.resolve(config.blocklist.channels)
    try:
        return _loaded(path, path.stat().st_mtime_ns)
    except (ConfigError, OSError) as error:
        _log.error("the packaged channels are used: %s", error)
        return packaged()


@functools.lru_cache(4)
def _loaded(path: Path, changed: int) -> Channels:
    return load(path)


def _channel(channels: Channels, about: CaseSubject) -> Channel | None:
    if about.kind == "receiver":
        return channels.of_provider(about.source, about.reason) or channels.of_domain(about.source)
    return channels.of_zone(about.source) if about.source else None
