"""The HTML of a message, written anew: what it says and what it hides, and nothing that a browser could act upon.

Nothing of the source survives but its text. Its tree is read, and a new document is written from it with a few plain
elements whose only attributes are our own: no link, picture, style, form or script is copied, whatever it is called.
Where one was, words say so, with its address as text. What the message hides from its reader is shown and marked. The
result then goes through nh3 with a list of just these elements, so that a mistake here would not be enough.
"""

from __future__ import annotations

import html
import re

import msgspec
import nh3
from selectolax.lexbor import LexborNode

from outbound_guard.content import Link, urls
from outbound_guard.content import tree as trees
from outbound_guard.desk.reading.hiding import how_hidden, rules_that_hide
from outbound_guard.desk.reading.visible import one_line, visible

SOURCE_LIMIT = 200_000
"""Characters of HTML that are read."""
NODES, DEPTH, OUTPUT = 30_000, 60, 600_000
"""Nodes that are looked at, elements inside each other that are kept, and characters that are written, at most."""
MAX_LINKS, MAX_PICTURES = 300, 300
WORK = 60_000_000
"""As `trees.WORK`: a person can wait for half a second."""


def _names(text: str) -> list[str]:
    return text.split()


_KEPT = {
    name: name
    for name in _names(
        "p div blockquote pre ul ol li dl dt dd table caption thead tbody tfoot tr td th h1 h2 h3 h4 h5 h6 "
        "b strong i em u s sub sup small big code tt cite"
    )
} | dict.fromkeys(
    _names("center section article header footer main nav aside address fieldset legend form figure body"), "div"
)
_EMPTY = ("br", "hr")
_BLOCKS = frozenset(_names("p div blockquote pre li dt dd caption tr h1 h2 h3 h4 h5 h6"))
# Neither these nor what is in them is text that a reader sees.
_TAKEN_OUT = {
    "script": "script",
    "style": "style sheet",
    "template": "template",
    "iframe": "frame",
    "frame": "frame",
    "object": "object",
    "embed": "object",
    "applet": "object",
    "audio": "sound",
    "video": "film",
    "canvas": "drawing",
    "link": "link to a style sheet or page",
    "base": "base address",
    "meta": "",
    "title": "",
    "select": "choice",
    "textarea": "input field",
    "input": "input field",
}
_ADDRESSES = ("src", "href", "data", "action", "poster", "srcset", "background", "formaction", "xlink:href")
_TAGS = {*_KEPT.values(), *_EMPTY, "span"}
_CLASSES = {"hidden", "mark", "link", "misleading", "target", "picture", "gone"}
_ATTRIBUTES = {"*": {"title"}, "td": {"title", "colspan", "rowspan"}, "th": {"title", "colspan", "rowspan"}}
_ALLOWED_CLASSES = dict.fromkeys(_TAGS, _CLASSES)
_SPACES, _EMPTY_LINES = re.compile(" +"), re.compile("\n{3,}")
_SPACE = re.compile(r"\s+")
_REFRESH = re.compile(r"url\s*=\s*['\"]?([^'\"]{1,500})", re.I)
_WEB = ("http", "https", "ftp", "")


class Target(msgspec.Struct, frozen=True):
    """Where a link of a message leads. Made to be shown; it is not to be followed."""

    text: str
    """What the reader sees, at most 200 characters."""
    address: str
    """At most 1,000 characters."""
    host: str
    """In lower case; empty if the address names none."""
    misleading: bool
    """The text names a host of another registrable domain."""
    hidden: bool


class Markup(msgspec.Struct, frozen=True):
    """One HTML text made safe to look at."""

    html: str
    """A fragment without anything that can be followed, fetched or run."""
    text: str
    """What the reader sees, without the markup and what is hidden."""
    targets: tuple[Target, ...]
    notes: tuple[str, ...]
    """What was taken out or hidden, one sentence each."""
    cut: bool
    """It was too long to be shown whole."""


def rewritten(source: str) -> Markup:
    """Write `source` anew; never raises, and its work is bounded."""
    cut = len(source) > SOURCE_LIMIT
    source = source[:SOURCE_LIMIT].encode("utf-8", "replace").decode()
    try:
        if trees.deep(source, WORK):
            raise ValueError("its elements lie too deep within each other")
        tree = trees.parse(source)
        writer = _Writer(rules_that_hide(tree))
        writer.walk(tree.root)
    except (RuntimeError, ValueError, MemoryError, UnicodeError):
        # The parser gives up on a few inputs; then people see the source.
        text = visible(source, SOURCE_LIMIT)
        return Markup(f"<pre>{html.escape(text)}</pre>", "", (), ("the HTML cannot be read: this is its source",), cut)
    fragment = nh3.clean(
        "".join(writer.out),
        tags=_TAGS,
        clean_content_tags=set(),
        attributes=_ATTRIBUTES,
        allowed_classes=_ALLOWED_CLASSES,
        link_rel=None,
        url_schemes=set(),
        url_relative="deny",
    )
    comments = source.count("<!--")
    if comments:
        writer.taken["comment"] = comments
    loading = source.lower().count("url(")
    if loading:
        writer.notes.append(f"its styles name {loading} addresses to be loaded: none was")
    lines = (line.strip() for line in _SPACES.sub(" ", "".join(writer.text)).split("\n"))
    text = _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()
    return Markup(fragment, text, tuple(writer.targets), writer.said(), cut or writer.cut)


class _Writer:
    """Writes the new document while it walks through the tree of the old one."""

    def __init__(self, rules: dict[str, str]) -> None:
        self._rules = rules
        self.out: list[str] = []
        self.text: list[str] = []
        self.targets: list[Target] = []
        self.taken: dict[str, int] = {}
        self.notes: list[str] = []
        self.cut = False
        self._length = 0
        self._pictures = self._tiny = self._hidden = 0
        self._links: list[tuple[int, str, list[str], bool]] = []
        """Links that are open: where their element stands in `out`, address, what they show, and whether hidden."""

    def walk(self, root: LexborNode | None) -> None:
        # What is to be done next is on top: a node with its depth and surroundings, or what closes an element.
        todo: list[tuple[LexborNode | None, str, int, bool, bool]] = [(root, "", 0, False, False)]
        nodes = 0
        while todo:
            node, closing, depth, hidden, coloured = todo.pop()
            if node is None:
                self._close(closing)
                continue
            nodes += 1
            if nodes > NODES or self._length > OUTPUT:
                self.cut = True
                # Only the ends of what is open are written now.
                todo = [entry for entry in todo if entry[0] is None]
                continue
            if depth and node.next is not None:
                todo.append((node.next, "", depth, hidden, coloured))
            if node.is_text_node:
                self._say(node.text_content or "", hidden)
                continue
            if not node.is_element_node:
                continue
            ending, inside, coloured = self._open(node, depth, hidden, coloured)
            if ending is None:
                continue
            if ending:
                todo.append((None, ending, depth, hidden, coloured))
            child = node.first_child
            if child is not None:
                todo.append((child, "", depth + 1, inside, coloured))

    # -- Elements ----------------------------------------------------------------------------------------------------

    def _open(self, node: LexborNode, depth: int, hidden: bool, coloured: bool) -> tuple[str | None, bool, bool]:
        """Write the begin of an element: what closes it (None: do not go in), if it is hidden, if on a colour."""
        tag = (node.tag or "").lower()
        if tag in ("head", "html"):
            return "", hidden, coloured
        attributes = {name: value or "" for name, value in list(node.attributes.items())[:40]}
        if tag in _TAKEN_OUT:
            self._take_out(tag, attributes, node)
            return None, hidden, coloured
        if tag in _EMPTY:
            self._write(f"<{tag}>")
            self.text.append("\n")
            return None, hidden, coloured
        if tag in ("img", "image"):
            self._picture(attributes, hidden)
            return None, hidden, coloured
        if tag in ("svg", "math"):
            self._note(f"{'drawing (SVG)' if tag == 'svg' else 'formula'} taken out; its text:")
            self.count("drawing" if tag == "svg" else "formula")
        style = attributes.get("style", "")[:600].lower()
        if "bgcolor" in attributes or "background" in attributes or "background" in style:
            coloured = True
        # Letters on the body's own colour are those of its children, which say for themselves if they are seen.
        how = "" if hidden or tag == "body" else how_hidden(attributes, self._rules, on_colour=coloured)
        if tag == "form":
            self.count("form")
            self._note("form" + (f" that sends to {_shown(attributes['action'])}" if attributes.get("action") else ""))
        if tag == "button":
            self.count("input field")
            self._note("button:")
        if tag in _BLOCKS or _KEPT.get(tag) == "div":
            self.text.append("\n")
        elif tag in ("td", "th"):
            self.text.append(" ")
        closing = self._begin(tag, attributes, depth, how)
        if tag in ("a", "area") and attributes.get("href", "").strip():
            closing = self._link(attributes["href"], hidden or bool(how)) + closing
        return closing, hidden or bool(how), coloured

    def _begin(self, tag: str, attributes: dict[str, str], depth: int, how: str) -> str:
        """Write the element that stands for it, with its mark if it is hidden; what closes it."""
        name = _KEPT.get(tag, "") if depth < DEPTH else ""
        if how and not name:
            name = "span"
        if not name:
            return ""
        spans = "".join(
            f' {span}="{attributes[span].strip()}"'
            for span in ("colspan", "rowspan")
            if name in ("td", "th") and re.fullmatch(r"\s*[1-9]\d?\s*", attributes.get(span, ""), re.A)
        )
        if not how:
            self._write(f"<{name}{spans}>")
            return f"</{name}>"
        self._hidden += 1
        self._write(f'<{name}{spans} class="hidden">')
        if name not in ("table", "thead", "tbody", "tfoot", "tr", "ul", "ol", "dl"):
            self._write(f'<span class="mark">hidden ({how}):</span> ')
        return f"</{name}>"

    def _take_out(self, tag: str, attributes: dict[str, str], node: LexborNode) -> None:
        what = _TAKEN_OUT[tag]
        address = next((attributes[name] for name in _ADDRESSES if attributes.get(name)), "")
        if tag == "meta":
            refresh = _REFRESH.search(attributes.get("content", "")[:600])
            if attributes.get("http-equiv", "").strip().lower() == "refresh" and refresh:
                self._note(f"it sends its reader on to {_shown(refresh[1])}")
                self.count("redirection")
        elif tag == "title":
            title = one_line(node.text() or "", 200)
            if title:
                self.notes.append(f"its title is “{title}”")
        elif tag == "input" and attributes.get("type", "").lower() == "hidden":
            self.count("hidden input field")
        elif what:
            self.count(what)
            if tag in ("input", "textarea", "select"):
                label = attributes.get("placeholder") or attributes.get("value") or attributes.get("name") or ""
                kind = one_line(attributes.get("type", ""), 20)
                self._note(" ".join(filter(None, (kind, what))) + (f": {one_line(label, 100)}" if label else ""))
            elif address:
                self._note(f"{what} taken out: {_shown(address)}")

    def _picture(self, attributes: dict[str, str], hidden: bool) -> None:
        self._pictures += 1
        width, height = (attributes.get(name, "").strip().removesuffix("px")[:5] for name in ("width", "height"))
        tiny = width in ("0", "1") or height in ("0", "1")
        self._tiny += tiny
        if self._pictures > MAX_PICTURES:
            return
        source = attributes.get("src", "").strip()
        lower = source[:10].lower()
        if lower.startswith("data:"):
            where = "written into the text"
        elif lower.startswith("cid:"):
            where = "enclosed"
        else:
            host = _host(source)
            where = f"from {host}" if host else "without an address"
        size = f"{width}×{height} " if width.isdigit() and height.isdigit() else ""
        alternative = one_line(attributes.get("alt", ""), 200)
        said = f"{'tracking ' if tiny else ''}picture {size}{where}" + (f": {alternative}" if alternative else "")
        self._write(f'<span class="picture" title="{html.escape(_shown(source, 500))}">[{html.escape(said)}]</span>')
        if alternative and not hidden:
            self.text.append(alternative)

    # -- Links -------------------------------------------------------------------------------------------------------

    def _link(self, href: str, hidden: bool) -> str:
        if len(self.targets) + len(self._links) >= MAX_LINKS:
            self.count("further link")
            return ""
        self._links.append((len(self.out), href.strip()[:2000], [], hidden))
        self._write("")
        return "a"

    def _close(self, closing: str) -> None:
        if closing.startswith("a"):
            self._link_end()
            closing = closing[1:]
        if closing:
            self.out.append(closing)
            if closing[2:-1] in _BLOCKS:
                self.text.append("\n")

    def _link_end(self) -> None:
        place, href, words, hidden = self._links.pop()
        text = " ".join("".join(words).split())[:200]
        host, scheme = _host(href), _scheme(href)
        misleading = Link(host, urls.shown_host(text) if "." in text else "", text, scheme).misleading
        self.targets.append(Target(one_line(text, 200), _shown(href, 1000), host, misleading, hidden))
        if misleading:
            self.count("misleading link")
        title = html.escape(_shown(href, 1000))
        self.out[place] = f'<span class="link{" misleading" if misleading else ""}" title="{title}">'
        said = f"runs {scheme}" if scheme in ("javascript", "vbscript", "data") else host or _shown(href, 100)
        if misleading:
            said = f"leads elsewhere: {said}"
        self.out.append(f'</span> <span class="target" title="{title}">[→ {html.escape(said)}]</span>')

    # -- Text --------------------------------------------------------------------------------------------------------

    def _say(self, text: str, hidden: bool) -> None:
        text = visible(text, OUTPUT)
        self._write(html.escape(text))
        if not hidden:
            self.text.append(_SPACE.sub(" ", text))
        if self._links:
            words = self._links[-1][2]
            if len(words) < 50:
                words.append(text[:200])

    def _note(self, text: str) -> None:
        self._write(f' <span class="gone">[{html.escape(text)}]</span> ')

    def _write(self, text: str) -> None:
        self._length += len(text)
        self.out.append(text)

    def count(self, what: str) -> None:
        """One more of what was taken out or is worth saying."""
        self.taken[what] = self.taken.get(what, 0) + 1

    def said(self) -> tuple[str, ...]:
        """The notes, one sentence each."""
        counted = [f"{number} × {what}" for what, number in self.taken.items()]
        if self._pictures:
            tiny = f", {self._tiny} of them to track who reads it" if self._tiny else ""
            counted.append(f"{self._pictures} × picture, none was loaded{tiny}")
        if self._hidden:
            counted.append(f"{self._hidden} × text that is hidden from the reader, shown and marked here")
        if self.cut:
            counted.append("it is too long or too deep to be shown whole")
        return tuple(dict.fromkeys(counted + self.notes[:20]))


def _scheme(address: str) -> str:
    # A browser leaves out tabs, line ends and leading controls before it looks for the scheme.
    plain = re.sub(r"[\t\r\n]", "", address[:200]).lstrip("".join(map(chr, range(33))))
    scheme, colon, _ = plain.partition(":")
    return scheme.lower() if colon and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]{0,20}", scheme) else ""


def _host(address: str) -> str:
    scheme = _scheme(address)
    rest = re.sub(r"[\t\r\n]", "", address).lstrip()
    if scheme:
        rest = rest.partition(":")[2]
    return urls.host_of(rest) if scheme in _WEB and rest.startswith(("//", "\\\\", "/\\", "\\/")) else ""


def _shown(address: str, limit: int = 200) -> str:
    """An address as text; what is percent-encoded only to be unreadable is not decoded here."""
    return one_line(address.strip(), limit)
