"""Text that the HTML of a message hides from its reader, by an attribute or by its style sheet."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from selectolax.lexbor import LexborHTMLParser

from outbound_guard.content.html import hides

SHEET = 20_000
"""Characters of a style sheet that are searched for rules which hide."""
MAX_RULES = 200

_RULE = re.compile(r"([^{}]{1,300})\{([^{}]{0,600})\}")
_SIMPLE = re.compile(r"[a-z0-9]{0,12}([.#][\w-]{1,80})\Z")
_FAR = re.compile(r"(?:left|top|right|margin-?\w{0,6})\s*:\s*-\s*\d{3,}|clip\s*:\s*rect\s*\(\s*0|mso-hide\s*:\s*all")
_BRACES = re.compile(r"@[^{};]{0,100}\{|[{}]")
_SAID = {"gone": "not displayed", "small": "too small to read", "pale": "white letters"}


def how_hidden(attributes: Mapping[str, str], rules: Mapping[str, str], *, on_colour: bool) -> str:
    """How an element with these attributes is hidden, in words for people; empty: it is not.

    `rules` are those of `rules_that_hide`; white letters are seen where there is a background (`on_colour`).
    """
    style = attributes.get("style", "")[:600].lower()
    ways = [_how(style)] if style else []
    if "hidden" in attributes:
        ways.append("gone")
    if attributes.get("color"):
        ways.append(hides(f"color:{attributes['color'][:40]}"))
    if rules:
        ways += [rules.get("." + name, "") for name in attributes.get("class", "").lower().split()[:10]]
        ways.append(rules.get("#" + attributes.get("id", "").lower(), ""))
    return next((_SAID[how] for how in ways if how and not (how == "pale" and on_colour)), "")


def rules_that_hide(tree: LexborHTMLParser) -> dict[str, str]:
    """`.class` and `#id` that a style sheet hides, with how; rules for certain screens are left out."""
    found: dict[str, str] = {}
    for sheet in tree.tags("style")[:10]:
        first, *rest = (sheet.text() or "")[:SHEET].split("/*")
        style = "".join([first, *(piece.partition("*/")[2] for piece in rest)]).lower()
        for selectors, rule in _RULE.findall(_for_all_screens(style))[:MAX_RULES]:
            how = _how(rule)
            if how:
                for selector in selectors.split(",")[:20]:
                    simple = _SIMPLE.match(selector.strip())
                    if simple:
                        found[simple[1]] = how
    return found


def _for_all_screens(sheet: str) -> str:
    """`sheet` without what stands in @media { ... } and its like."""
    kept, depth, start = [], 0, 0
    for brace in _BRACES.finditer(sheet):
        if depth:
            depth += -1 if brace[0] == "}" else 1
            start = brace.end()
        elif brace[0][0] == "@":
            kept.append(sheet[start : brace.start()])
            depth = 1
    return "".join(kept) if depth else "".join([*kept, sheet[start:]])


@functools.lru_cache(4096)
def _how(style: str) -> str:
    return hides(style) or ("gone" if _FAR.search(style) else "")
