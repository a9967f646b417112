"""The tree of an HTML source whose author may want to hold up or break its reader.

The parser does what browsers do, and some of that takes too much of time or memory: elements that lie deep within each
other, since it looks through those around each tag that it meets; formatting that nobody ends, since what is bold is
bold again in each paragraph that follows; and attributes, of which each is compared with all others of its tag, and
which are copied with such formatting.
"""

from __future__ import annotations

import re

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser

WORK = 8_000_000
"""Elements that may lie within each other, times tags: the parser takes some 7 ns for each."""
_MANY_TAGS = 200
"""Tags of a source; fewer, if it is short, never hold anybody up."""
_SHORT = 4096
"""Characters of a source."""
_LINKS_AGAIN = 8_000_000
"""Characters of a link's tag, times tags: so many are copied at most."""
_LINKS = 100
"""Links that are put right."""

_PLAIN_OPTIONS = LexborDocumentOptions.WO_EVENTS.value
_START = re.compile(rb"<([a-z][^\t\n\f\r />]*)")
_EMPTY = b"area base br col embed hr img input link meta param source track wbr"
_ENDED_BY_THE_NEXT = b"p li tr td th thead tbody tfoot option"
_NEVER_DEEP = frozenset((_EMPTY + b" " + _ENDED_BY_THE_NEXT).split())
_FORMATTING = re.compile(r"<(/?)(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])", re.I | re.A)
# As HTML 13.2.5.32 to 40 reads them, so that what matches is one tag to the parser as well.
_ATTRIBUTE = r"""[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?+)?+"""
_ANCHOR = re.compile(rf"<a(?=[\s/])(?:(?:[\s/]*+{_ATTRIBUTE}){{0,20}}+[\s/]*+>)?+", re.I | re.A)
_CROWDED = re.compile(rf"<[a-z][^\s/<>]*+(?=[\s/])(?:[\s/]*+{_ATTRIBUTE}){{50}}", re.I | re.A)
_HREF = re.compile(r"""[\s/"']href\s*+=\s*+["']?([^\s"'>]{1,1000})""", re.I | re.A)
# The only references that are longer when they are read than as they are written, for which the parser has no room:
# it writes behind the end of its memory.
_GROWING = (("&nGt;", "\u226b\u20d2"), ("&nLt;", "\u226a\u20d2"))


def deep(source: str, work: int = WORK) -> bool:
    """True if the elements of a source may lie so deep within each other that its tree would take long to make.

    What ends where is for the parser to say: each element that can hold another counts as never ended. Within drawings
    and formulas all can.
    """
    source = source.replace("\0", "")
    tags = source.count("<")
    if tags < _MANY_TAGS:
        return False
    # Not `str.lower`: what it takes for a `k` is none to the parser.
    octets = source.encode("utf-8", "replace").lower()
    flat = frozenset() if b"<svg" in octets or b"<math" in octets else _NEVER_DEEP
    return tags * sum([name not in flat for name in _START.findall(octets)]) > work


def parse(source: str) -> LexborHTMLParser:
    """The tree of a source that is not `deep`. Raises RuntimeError, ValueError or MemoryError for what has none.

    In a long source formatting (b, font, ...) is made spans, which say no more to us and are not made again by the
    parser. A tag ends with its fiftieth attribute, since each is compared with all before it. Of a link with more than
    20, or a very long one, only the address is left.
    """
    source = source.replace("\0", "")
    for reference, characters in _GROWING:
        source = source.replace(reference, characters)
    tags = source.count("<")
    if tags >= _MANY_TAGS or len(source) > _SHORT:
        source = _CROWDED.sub(r"\g<0>>", _FORMATTING.sub(r"<\1span", source))
        source = _bounded_links(source, _LINKS_AGAIN // max(1, tags))
    return LexborHTMLParser(source, options=_PLAIN_OPTIONS)


def _bounded_links(source: str, longest: int) -> str:
    left = _LINKS

    def bounded(found: re.Match[str]) -> str:
        nonlocal left
        if 2 < len(found[0]) <= longest:
            return found[0]
        left -= 1
        # Where it does not read as a tag, what follows is text: the parser finds no other tag there than we do.
        href = _HREF.search(source, found.start(), found.start() + 2048) if left > 0 else None
        return f'<a href="{href[1]}">' if href else "<a>"

    return _ANCHOR.sub(bounded, source)
