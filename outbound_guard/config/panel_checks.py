"""What types cannot say about control panels. Raises Mistake with the path of the setting."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from outbound_guard.config.files import readable
from outbound_guard.config.panels import Panel
from outbound_guard.config.reading import Mistake
from outbound_guard.config.settings import Config
from outbound_guard.config.values import positive


def check_panels(config: Config) -> None:
    """All [[panel]] tables."""
    names = {f"{route.name}": f"notice[{number}]" for number, route in enumerate(config.notice)}
    for number, panel in enumerate(config.panel):
        where = f"panel[{number}]"
        if not re.fullmatch(r"[\w.-]{1,64}", panel.name):
            raise Mistake(f"{where}.name", f'"{panel.name}" is no name; expected letters, digits, ".", "-" and "_"')
        # Notices and panels share the outbox.
        if panel.name in names:
            raise Mistake(f"{where}.name", f'"{panel.name}" is already the name of {names[panel.name]}')
        names[panel.name] = where
        _one(config, where, panel)
    whole = [(n, panel) for n, panel in enumerate(config.panel) if panel.whole_accounts and panel.mode != "off"]
    for number, panel in whole:
        if len(whole) > 1 and not panel.servers and not panel.accounts:
            raise Mistake(
                f"panel[{number}].servers",
                "must say which servers (or accounts) it is for, as there are other panels: "
                "the same user name at each of them is somebody else",
            )


def _one(config: Config, where: str, panel: Panel) -> None:
    _url(f"{where}.url", panel)
    readable(config, f"{where}.token_file", panel.token_file)
    if panel.ca_file:
        readable(config, f"{where}.ca_file", panel.ca_file)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", panel.user):
        raise Mistake(f"{where}.user", f'"{panel.user}" is no user of a panel')
    if panel.stop == "hold" and panel.kind != "cpanel":
        raise Mistake(f"{where}.stop", f"{panel.kind} cannot hold outgoing mail; use suspend")
    if panel.whole_accounts and panel.kind == "directadmin":
        raise Mistake(
            f"{where}.whole_accounts",
            "must be false: DirectAdmin can suspend an account with its web sites only, for which mail is no cause",
        )
    if not re.fullmatch(r"default|-1|[1-9][0-9]{0,8}", panel.limit):
        raise Mistake(f"{where}.limit", f'"{panel.limit}" is no limit; expected "default", "-1" or a number above 0')
    positive(where, panel, "timeout")


def _url(where: str, panel: Panel) -> None:
    try:
        parts = urlsplit(panel.url)
        port = parts.port
    except ValueError as error:
        raise Mistake(where, f'"{panel.url}" is no URL: {error}') from None
    good = parts.scheme in ("https", "http") and parts.hostname and port != 0 and panel.url.isascii()
    if not good or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise Mistake(where, f'"{panel.url}" cannot be used; expected one like "https://web1.example.net:2087"')
    if parts.scheme == "http" and not panel.allow_private:
        raise Mistake(where, "is not encrypted; use https, or allow_private = true for a panel in your own network")
