"""What a reader sees of an HTML part, what is hidden from him, and where its links lead."""

from __future__ import annotations

import functools
import re

import msgspec
from selectolax.lexbor import LexborHTMLParser, LexborNode

from outbound_guard.content import tree as trees
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

# A space before what a browser shows as a new line or cell, so that words on both sides stay apart;
# elements within a line (b, span, font) do not part words: `V<b></b>iagra` reads as one word.
_LINES = re.compile(r"<(?=/?(?:[pPdDtThHlLoO]|[bB][rRlL]|[uU][lL]|[cC][eE]|[sS][eE]|[aA][rR]))")
# These three are for HTML in lower case and begin with a literal, which Python's `re` finds many times faster.
_STYLE = re.compile(r'style="([^"]{0,600})')
_STYLE_SINGLE = re.compile(r"style='([^']{0,600})")
_TAGS = re.compile(r"<(script|style|template|title|noscript|img|table)\b")
_DANGEROUS = re.compile(r"<(script|form|input|iframe|object|embed|meta)\b")
_REFRESH = re.compile(r"<meta\b[^>]{0,300}http-equiv\s{0,9}=\s{0,9}[\"']?refresh")
_FRAMES = frozenset(("iframe", "object", "embed"))
_SOURCE = 16_000
"""Characters of the source, styles left out, of which `source_text` reads the text."""
_STYLES = 20
"""Style sheets that are left out."""
_UNSEEN = {ord(c): None for c in "\t\n\r"}
_WEB = ("http", "https", "ftp", "")
_EXTENTS = ("max-height", "max-width", "height", "width")
_NOT_SHOWN = ("script", "style", "template", "noscript")
_TITLE = re.compile(r"<(?:title|TITLE|Title)[^<>]{0,200}>([^<]{0,300})")


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


def _on_colour(node: LexborNode, known: dict[int, bool]) -> bool:
    """True if the element or one around it sets a background, so that white text may well be seen.

    `known`: of which elements that is known; one may have thousands of attributes, which are read once.
    """
    around: LexborNode | None = node
    for _ in range(12):
        if around is None:
            return False
        sets = known.get(around.mem_id)
        if sets is None:
            attributes = around.attributes
            style = (attributes.get("style") or "").lower()
            sets = "bgcolor" in attributes or "background" in attributes or "background" in style
            known[around.mem_id] = sets
        if sets:
            return True
        around = around.parent
    return False


def defects(lower: str, *, cut: bool = False) -> list[str]:
    """What is dangerous in a source in lower case, read without building its tree. `cut`: it was cut off before."""
    found = ["html_too_long"] if cut or len(lower) > HTML_LIMIT else []
    if trees.deep(lower[:HTML_LIMIT]):
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


def see(source: str) -> View:
    """Read `source`; never raises. Of one whose elements lie too deep within each other the tags are cut out."""
    source = source[:HTML_LIMIT]
    if trees.deep(source):
        return _without_tree(source)
    try:
        return _read(trees.parse(_LINES.sub(" <", source)), source)
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
    coloured: dict[int, bool] = {}
    length = 0
    for node in tree.css("[style]")[:MAX_STYLED]:
        how = hides((node.attributes.get("style") or "").lower()[:600])
        if how and node.tag not in ("body", "html") and not (how == "pale" and _on_colour(node, coloured)):
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
    # As browsers read it: without line ends and tabs, and behind `https:` any number of slashes of either kind.
    href = href.strip()[:2000].translate(_UNSEEN)
    scheme, colon, rest = href.partition(":")
    if not colon:
        scheme, rest = "", href
    elif len(scheme) > 20 or "/" in scheme:
        scheme, rest = "", ""
    else:
        scheme = scheme.lower()
    # `//host/path` takes the scheme of the page; `host/path` without slashes is a path.
    leads = scheme in _WEB and (scheme or rest.startswith(("//", "\\\\", "/\\", "\\/")))
    text = " ".join(text[:400].split())[:100]
    return Link(urls.host_of(rest) if leads else "", urls.shown_host(text) if "." in text else "", text, scheme)
