"""What a reader sees of an HTML part, what is hidden from him, and where its links lead."""

from __future__ import annotations

import functools
import re

import msgspec
from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode

from outbound_guard.content import urls

HTML_LIMIT = 48_000
"""Characters of HTML that are looked at."""
TEXT_LIMIT = 32_000
"""Characters of visible text that are kept."""
HIDDEN_LIMIT = 4_000
MAX_LINKS = 100
MAX_STYLED = 400
"""Elements with a style of their own that are tested for being hidden, if the styles give reason to."""
MAX_HIDDEN = 60
"""Hidden elements that are taken out once there is enough hidden text."""

_MANY_TAGS = 200
"""Tags of a source; fewer never hold anybody up."""
_WORK = 3_000_000
"""Elements that may lie within each other, times tags: the parser looks through those around each tag that it meets,
and takes some 7 ns for each."""

# A space before what a browser shows as a new line or cell, so that words on both sides stay apart;
# elements within a line (b, span, font) do not part words: `V<b></b>iagra` reads as one word.
_LINES = re.compile(r"<(?=/?(?:[pPdDtThHlLoO]|[bB][rRlL]|[uU][lL]|[cC][eE]|[sS][eE]|[aA][rR]))")
# These three are for HTML in lower case and begin with a literal, which Python's `re` finds many times faster.
_STYLE = re.compile(r'style="([^"]{0,600})')
_STYLE_SINGLE = re.compile(r"style='([^']{0,600})")
_TAGS = re.compile(r"<(script|style|template|title|noscript|img|table)\b")
_DANGEROUS = re.compile(r"<(script|form|input|iframe|object|embed|meta)\b")
_REFRESH = re.compile(r"<meta\b[^>]{0,300}http-equiv\s{0,9}=\s{0,9}[\"']?refresh")
_START = re.compile(r"<([a-z][^\s/<>]*)")
_EMPTY = "area base br col embed hr img input link meta param source track wbr"
_ENDED_BY_THE_NEXT = "p li tr td th thead tbody tfoot option"
_NEVER_DEEP = frozenset(f"{_EMPTY} {_ENDED_BY_THE_NEXT}".split())
_FORMATTING = re.compile(r"<(/?)(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])", re.I | re.A)
_FRAMES = frozenset(("iframe", "object", "embed"))
_SOURCE = 16_000
"""Characters of the source, styles left out, of which `source_text` reads the text."""
_STYLES = 20
"""Style sheets that are left out."""
_WEB = ("http", "https", "ftp", "")
_EXTENTS = ("max-height", "max-width", "height", "width")
_NOT_SHOWN = ("script", "style", "template", "noscript")
_TITLE = re.compile(r"<(?:title|TITLE|Title)[^<>]{0,200}>([^<]{0,300})")
_PLAIN_OPTIONS = LexborDocumentOptions.WO_EVENTS.value


class Link(msgspec.Struct, frozen=True):
    """A link of the HTML: where it goes and what it shows."""

    host: str
    """Host of the target, empty for mailto: and fragments."""
    shown: str
    """Host named by the visible text, empty if it names none."""
    text: str
    """The visible text, at most 100 characters."""
    scheme: str

    @property
    def misleading(self) -> bool:
        """True if the text names a host of another registrable domain than the target."""
        return bool(self.shown and self.host) and urls.registrable(self.shown) != urls.registrable(self.host)


class View(msgspec.Struct, frozen=True):
    """An HTML part as its reader sees it."""

    text: str
    hidden: str
    links: tuple[Link, ...]
    images: int
    tables: int
    styled: int
    title: str


@functools.lru_cache(4096)
def hides(style: str) -> str:
    """How a style attribute hides its text: `gone`, `small`, `pale` (unless there is a background around it) or ''."""
    plain = "".join(style.lower().split()).replace("!important", "")
    foreground = pale = ""
    for rule in plain.split(";"):
        name, _, value = rule.partition(":")
        if (name == "display" and value == "none") or (name == "visibility" and value in ("hidden", "collapse")):
            return "gone"
        if name == "opacity" and value in ("0", "0.0", "0%", ".0"):
            return "gone"
        if name == "font-size" and value.rstrip("pxtemr%") in ("0", "0.0", "1", "0.1") and value not in ("1em", "1rem"):
            return "small"
        if name in _EXTENTS and value.rstrip("px") == "0" and "overflow:hidden" in plain:
            return "gone"
        if name == "text-indent" and value.startswith("-") and len(value) > 5:
            return "gone"
        if name == "color":
            foreground = value
        if name.startswith("background"):
            pale = "background"
    if foreground and not pale and _is_white(foreground):
        return "pale"
    return ""


def _is_white(color: str) -> bool:
    if color in ("white", "transparent", "#fff", "#ffff", "snow", "ivory", "ghostwhite", "whitesmoke"):
        return True
    if color.startswith("#") and len(color) in (7, 9):
        return all(color[n] == "f" and color[n + 1] in "abcdef" for n in (1, 3, 5))
    return color.replace(" ", "") in ("rgb(255,255,255)", "rgb(254,254,254)")


def _on_colour(node: LexborNode) -> bool:
    """True if the element or one around it sets a background, so that white text may well be seen."""
    around: LexborNode | None = node
    for _ in range(12):
        if around is None:
            return False
        attributes = around.attributes
        if "bgcolor" in attributes or "background" in attributes:
            return True
        if "background" in (attributes.get("style") or "").lower():
            return True
        around = around.parent
    return False


def defects(lower: str, *, cut: bool = False) -> list[str]:
    """What is dangerous in a source in lower case, read without building its tree. `cut`: it was cut off before."""
    found = ["html_too_long"] if cut or len(lower) > HTML_LIMIT else []
    if _deep(lower[:HTML_LIMIT]):
        found.append("html_deep")
    tags = set(_DANGEROUS.findall(lower[:HTML_LIMIT]))
    if "script" in tags:
        found.append("html_script")
    if "form" in tags or "input" in tags:
        found.append("html_form")
    if not tags.isdisjoint(_FRAMES):
        found.append("html_frame")
    if "meta" in tags and _REFRESH.search(lower[:HTML_LIMIT]):
        found.append("html_refresh")
    return found


def source_text(lower: str) -> str:
    """The beginning of the text as it stands between the tags of a source in lower case.

    Nothing is decoded, and what is hidden is in it; style sheets are not, since templates share them.
    """
    for _ in range(_STYLES):
        start = lower.find("<style", 0, _SOURCE)
        end = lower.find("</style", start) if start >= 0 else -1
        if end < 0:
            break
        lower = lower[:start] + lower[end:]
    return without_tags(lower[:_SOURCE])


def without_tags(source: str) -> str:
    """What stands between the tags. Not by a pattern: on `<<<<...` it would take the square of the length."""
    first, *rest = source.split("<")
    return " ".join([first, *[piece.partition(">")[2] for piece in rest]])


def _deep(source: str) -> bool:
    """True if the elements of a source may lie so deep within each other that its tree would take long to make.

    What ends where is for the parser to say: each element that can hold another counts as never ended. Within drawings
    and formulas all can.
    """
    tags = source.count("<")
    if tags < _MANY_TAGS:
        return False
    source = source.lower()
    flat = frozenset() if "<svg" in source or "<math" in source else _NEVER_DEEP
    return tags * sum([name not in flat for name in _START.findall(source)]) > _WORK


def see(source: str) -> View:
    """Read `source`; never raises. Of one whose elements lie too deep within each other the tags are cut out."""
    source = source[:HTML_LIMIT]
    if "\0" in source:
        source = source.replace("\0", "")
    if _deep(source):
        return _without_tree(source)
    spaced = _LINES.sub(" <", source)
    if source.count("<") >= _MANY_TAGS:
        # What is bold is bold in each paragraph that follows, if nobody ends it: of a few hundred such elements the
        # parser makes millions. To us they say no more than a span does, which it does not make again.
        spaced = _FORMATTING.sub(r"<\1span", spaced)
    try:
        return _read(LexborHTMLParser(spaced, options=_PLAIN_OPTIONS), source)
    except (RuntimeError, ValueError, MemoryError, UnicodeError):
        # The parser gives up on a few inputs.
        return _without_tree(source)


def _without_tree(source: str) -> View:
    return View(without_tags(source)[:TEXT_LIMIT], "", (), 0, 0, 0, "")


def _read(tree: LexborHTMLParser, source: str) -> View:
    lower = source.lower()
    tags = _TAGS.findall(lower)
    kinds = set(tags)
    title = ""
    if "title" in kinds:
        found = _TITLE.search(source)
        title = " ".join(found[1].split()) if found else ""
    body = tree.body
    if body is None:
        return View("", "", (), 0, 0, 0, title)
    for kind in _NOT_SHOWN:
        if kind in kinds:
            # The innermost first, so that no element is touched after one around it is gone.
            for node in reversed(tree.tags(kind)):
                node.decompose()
    styles = _STYLE.findall(lower)
    if "style='" in lower:
        styles += _STYLE_SINGLE.findall(lower)
    hidden: list[str] = []
    if styles and any(map(hides, set(styles))):
        _take_hidden(tree, hidden)
    links = []
    for anchor in tree.tags("a")[:MAX_LINKS]:
        href = anchor.attributes.get("href")
        if href:
            links.append(_link(href, anchor.text()))
    text = body.text()
    return View(
        " ".join(text[: TEXT_LIMIT * 2].split())[:TEXT_LIMIT],
        " ".join(hidden)[:HIDDEN_LIMIT],
        tuple(links),
        tags.count("img"),
        tags.count("table"),
        len(styles),
        title,
    )


def _take_hidden(tree: LexborHTMLParser, hidden: list[str]) -> None:
    """Take elements that are not seen out of the tree, their text into `hidden`."""
    found = []
    length = 0
    for node in tree.css("[style]")[:MAX_STYLED]:
        how = hides((node.attributes.get("style") or "").lower()[:600])
        if how and node.tag not in ("body", "html") and not (how == "pale" and _on_colour(node)):
            found.append(node)
            if length < HIDDEN_LIMIT:
                text = " ".join(node.text()[: HIDDEN_LIMIT * 2].split())
                hidden.append(text)
                length += len(text) + 1
            elif len(found) >= MAX_HIDDEN:
                break
    # Taken out only now and the innermost first, so that no element is touched after one around it is gone.
    for node in reversed(found):
        node.decompose()


def _link(href: str, text: str) -> Link:
    href = href.strip()[:2000]
    scheme, colon, rest = href.partition(":")
    if not colon:
        scheme, rest = "", href
    elif len(scheme) > 20 or "/" in scheme:
        scheme, rest = "", ""
    else:
        scheme = scheme.lower()
    # `//host/path` takes the scheme of the page; `host/path` without slashes is a path.
    host = urls.host_of(rest) if scheme in _WEB and rest.startswith(("//", "\\\\", "/\\", "\\/")) else ""
    text = " ".join(text[:400].split())[:100]
    return Link(host, urls.shown_host(text) if "." in text else "", text, scheme)
