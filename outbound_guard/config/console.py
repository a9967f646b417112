"""The table of the configuration file about the console."""

from __future__ import annotations

from outbound_guard.config.oidc import Oidc
from outbound_guard.config.reading import Table


class Console(Table, frozen=True):
    """[console]"""

    address: str = "127.0.0.1:8080"
    """HOST:PORT of the pages and the API; empty: none."""
    url: str = ""
    """Where its users reach it, `https://guard.example.net`; needed for [console.oidc]."""
    certificate: str = ""
    """PEM file, chain included; without it they are served unencrypted: put a web server with TLS in front."""
    private_key: str = ""
    """PEM file."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of the web servers in front of it, whose X-Forwarded-For and X-Forwarded-Proto hold."""
    idle_seconds: float = 28_800.0
    """Without a request for so long, a session ends."""
    session_seconds: float = 604_800.0
    """So long after signing in, a session ends in any case."""
    four_eyes: int = 0
    """A decision about more held messages than this waits until a second person confirms it; 0: none does."""
    four_eyes_seconds: float = 86_400.0
    """So long it waits; then it expires, and everything stays where it was."""
    oidc: Oidc = Oidc()
