"""Addresses and display names in header fields (RFC 5322 3.4), read leniently: a guard must read what mailers show."""

from __future__ import annotations

import functools
import re

from outbound_guard.content import charset

_LIMIT = 2000
_NOBODY: frozenset[str] = frozenset()
# The three forms nearly all mail uses: "Name" <a@b>, Name <a@b>, a@b.
_USUAL = re.compile(r'\s*(?:"((?:[^"\\]|\\.){0,500})"|([^<>"(),;:@]{0,500}))\s*<\s*([^<>\s]{1,320})\s*>\s*\Z')
_PLAIN = re.compile(r"\s*([^<>\s\"(),;:]{1,320}@[^<>\s\"(),;:]{1,255})\s*\Z")
_ANGLE = re.compile(r"<\s*([^<>\s]{1,320})\s*>")
_ANY = re.compile(r"[^\s<>\"(),;:]{1,64}@[^\s<>\"(),;:]{1,255}")
_SEPARATORS = re.compile(r"[<>,\"';]")
_QUOTED_NAME = re.compile(r'"(?:[^"\\]|\\.){0,500}"(?=\s*<)')
_COMMENT = re.compile(r"\(([^()]{0,300})\)")


def first(value: str | None) -> tuple[str, str, int]:
    """The first address of a field in lower case, its display name, and the number of addresses (2 for any more)."""
    return _first(value[:_LIMIT]) if value else ("", "", 0)


@functools.lru_cache(2048)  # Who sends mail sends more than once.
def _first(value: str) -> tuple[str, str, int]:
    match = _USUAL.match(value)
    if match:
        name = match[1] if match[1] is not None else match[2]
        return match[3].lower(), _name(name), 1 if "@" in match[3] else 0
    match = _PLAIN.match(value)
    if match:
        return match[1].lower(), "", 1
    angles = _ANGLE.findall(value)
    if angles:
        before = value.partition("<")[0]
        address = angles[0].lower()
        outside = _ANGLE.sub(" ", value)
        several = len(angles) > 1 or ("," in outside and _ANY.search(outside.rpartition(",")[2]) is not None)
        return address, _name(before), (2 if several else 1) if "@" in address else 0
    found = _ANY.findall(_COMMENT.sub(" ", value))
    if not found:
        return "", _name(value), 0
    comment = _COMMENT.search(value)
    return found[0].lower(), _name(comment[1]) if comment else "", min(len(found), 2)


def addresses(value: str | None) -> list[str]:
    """All addresses of a field in lower case, names and comments left out, and quotes around a local part."""
    if not value:
        return []
    bare = _COMMENT.sub(" ", _QUOTED_NAME.sub(" ", value[:_LIMIT])).replace('"', "")
    return [found.lower() for found in _ANY.findall(bare)]


def names(value: str | None) -> frozenset[str]:
    """Words that name the recipients in a To field (of display names and local parts), as they may stand in a text.

    In lower case, with and without the punctuation that follows a name; of at most 40 names.
    """
    return _names(value[:600]) if value else _NOBODY


@functools.lru_cache(4096)
def _names(value: str) -> frozenset[str]:
    if "=?" in value:
        value = charset.header_text(value, 600)[0]
    words: list[str] = []
    for word in _SEPARATORS.sub(" ", value.lower()).split()[:40]:
        local, at, _ = word.partition("@")
        words += local.replace("_", ".").replace("-", ".").split(".") if at else [word]
    return frozenset([word + end for word in words[:40] if len(word) > 1 for end in ("", ",", "!", ".", ":", ";")])


def _name(value: str) -> str:
    value = value.strip(" \t\"'")
    if "\\" in value:
        value = re.sub(r"\\(.)", r"\1", value)
    if "=?" in value:
        value = charset.header_text(value, 300)[0]
    return " ".join(value.split())[:300]
