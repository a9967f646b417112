"""What types cannot say about identity rules. Every function raises Mistake with the path of the setting."""

from __future__ import annotations

import re

from outbound_guard.config.files import readable
from outbound_guard.config.identity import Identity
from outbound_guard.config.identity_keys import read_keys
from outbound_guard.config.reading import ConfigError, Mistake
from outbound_guard.config.settings import Config
from outbound_guard.config.values import network_list

_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 2.2
# Without these a message would not be the same any more, or no message at all.
_KEEP = re.compile(
    r"(?:from|sender|reply-to|to|cc|bcc|message-id|in-reply-to|references|subject|date|mime-version|content-.*|dkim-.*"
    r"|resent-.*|list-.*|return-path|arc-.*)",
    re.I,
)


def check_identity(config: Config, where: str, rule: Identity) -> None:
    """One [[identity]] table; `where` is its path."""
    kind, colon, name = rule.from_.partition(":")
    named = kind in ("header", "signed") and _FIELD_NAME.fullmatch(name)
    if rule.from_ not in ("sasl", "mail_from", "client_ip") and not named:
        raise Mistake(
            f"{where}.from",
            f'"{rule.from_}" is no source; expected sasl | header:NAME | signed:NAME | mail_from | client_ip',
        )
    if rule.trusted and kind not in ("header", "mail_from"):
        raise Mistake(f"{where}.trusted", f"means nothing for {rule.from_}; it belongs to header:NAME and mail_from")
    network_list(f"{where}.trusted", rule.trusted)
    if kind != "header":
        if rule.pattern:
            raise Mistake(f"{where}.pattern", f"means nothing for {rule.from_}; it belongs to header:NAME")
        if colon and (_KEEP.fullmatch(name) or name.lower() == "received"):
            raise Mistake(f"{where}.from", f"{name} has another use; name a header of its own, like X-Guard-Identity")
        _identity_keys(config, where, rule, signed=kind == "signed")
        return
    _identity_keys(config, where, rule, signed=False)
    if name.lower() == "received":
        if not rule.pattern:
            raise Mistake(
                f"{where}.pattern", "is needed for header:Received; for example 'Authenticated sender: (\\S+?)\\)'"
            )
    elif rule.strip and _KEEP.fullmatch(name):
        raise Mistake(f"{where}.strip", f"would remove {name} from all mail; set strip = false")
    if rule.pattern:
        try:
            groups = re.compile(rule.pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            raise Mistake(f"{where}.pattern", f"is no regular expression: {error}") from None
        if not groups:
            raise Mistake(f"{where}.pattern", "has no group; put parentheses around the part that is the sender")


def _identity_keys(config: Config, where: str, rule: Identity, *, signed: bool) -> None:
    if not signed:
        if rule.keys:
            raise Mistake(f"{where}.keys", f"means nothing for {rule.from_}; it belongs to signed:NAME")
        return
    if not rule.keys:
        raise Mistake(f"{where}.keys", f"is needed for {rule.from_}; name a file with lines KEYID:SECRET")
    if not 1 <= rule.life <= 2_592_000:
        raise Mistake(f"{where}.life", f"is {rule.life:g}; expected 1 to 2592000 seconds (30 days)")
    readable(config, f"{where}.keys", rule.keys)
    try:
        read_keys(config.resolve(rule.keys))
    except ConfigError as error:
        raise Mistake(f"{where}.keys", str(error)) from None
