"""Hosts and registrable domains of the links in a text; the only user of publicsuffixlist."""

from __future__ import annotations

import functools
import re

from publicsuffixlist import PublicSuffixList

MAX_URLS = 100
# Anchored on a literal, which Python's `re` finds many times faster than `https?`.
_URL = re.compile(r"://([^\s\"'<>]{1,500})")
_WWW = re.compile(r"(?:www|WWW)\.[^\s\"'<>/]{1,200}[^\s\"'<>]{0,300}")
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)+\Z")
_SHOWN = re.compile(r"(?:https?://)?((?:[\w-]+\.)+[^\W\d_]{2,24})(?:[:/?#]\S*)?\Z", re.I)
_ADDRESS = re.compile(r"[\d.]+\Z")
# Named by document types and name spaces, never followed.
_NOT_LINKS = frozenset(("www.w3.org", "schemas.microsoft.com", "schemas.openxmlformats.org", "ns.adobe.com"))
# File names that are written like hosts.
_FILES = frozenset(
    ("exe", "pdf", "doc", "docx", "xls", "xlsx", "txt", "jpg", "png", "gif", "zip", "html", "htm", "php", "js")
)


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=True)


@functools.lru_cache(16384)
def registrable(host: str) -> str:
    """The registrable domain of a host in lower case (`a.b.co.uk` -> `b.co.uk`); IP addresses stay."""
    if not host or _ADDRESS.match(host) or ":" in host or len(host) > 253:
        return host[:253]
    return str(_suffixes().privatesuffix(host) or host)


def host_of(rest: str) -> str:
    """The host of what follows `scheme:`, in lower case, empty if there is none that could be one."""
    authority = rest.lstrip("/\\")[:400].partition("/")[0]
    return _host(authority)


@functools.lru_cache(16384)
def _host(authority: str) -> str:
    for end in "?#\\":
        authority = authority.partition(end)[0]
    authority = authority.rpartition("@")[2]
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()[:64]
    host = authority.partition(":")[0].rstrip(".,;)!").lower()
    return host[:253] if _HOST.match(host) else ""


@functools.lru_cache(4096)
def shown_host(text: str) -> str:
    """The host that a link's visible text consists of, empty if it is other text."""
    match = _SHOWN.match(text)
    if not match or "@" in text:
        return ""
    host = match[1].lower()
    return "" if host.rpartition(".")[2] in _FILES else host


def find(text: str) -> list[str]:
    """URLs in `text` without their scheme (`host/path`), each once, at most `MAX_URLS`."""
    found: dict[str, None] = {}
    if "://" in text:
        found = dict.fromkeys([url.rstrip(".,;:!?)]}") for url in _URL.findall(text)])
        if len(found) > MAX_URLS:
            found = dict.fromkeys(list(found)[:MAX_URLS])
    if len(found) < MAX_URLS and text.count("www.") + text.count("WWW.") > text.count("://www."):
        for match in _WWW.finditer(text):
            if text[max(0, match.start() - 3) : match.start()] != "://":
                found[match[0].rstrip(".,;:!?)]}")] = None
                if len(found) >= MAX_URLS:
                    break
    return [url for url in found if url and host_of(url) not in _NOT_LINKS]


def hosts(found: list[str]) -> tuple[str, ...]:
    """The hosts of URLs as `find` gives them, in lower case, each once, in order."""
    return tuple(dict.fromkeys(filter(None, map(host_of, found))))
