"""Random and half-sound messages: parsing and features never raise, and what they give is bounded and of its type."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from outbound_guard.content import Message, features, parse
from outbound_guard.content.charset import decode, header_text
from outbound_guard.content.defects import DEFECTS
from outbound_guard.content.html import see

PROPERTIES = [name for name in dir(Message) if isinstance(getattr(Message, name), property)]

PIECES = [
    *[
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\0",
        b"--b",
        b"--b--",
        b"--c",
        b"\xff",
        b"=",
        b"=3D",
        b"=?utf-8?q?a?=",
        b"<",
        b">",
    ],
    *[
        b'"',
        b";",
        b":",
        b"(",
        b")",
        b"@",
        b"a@b.example",
        b"://",
        b"http://x.example/",
        b"www.y.example",
        b"&lt;",
        b"<!--",
    ],
    *[
        b"From: ",
        b"To: ",
        b"Subject: ",
        b"Content-Type: multipart/mixed; boundary=b",
        b"multipart/alternative; boundary=c",
    ],
    *[b"Content-Type: text/html; charset=utf-8", b"Content-Type: text/plain; charset=iso-2022-jp", b"message/rfc822"],
    *[b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b"Content-Disposition: "],
    *[
        b'attachment; filename="a.exe"',
        b"filename*0*=utf-8''%41",
        b"PK\x03\x04",
        b"UEsDBA==",
        b"<p>",
        b"</p>",
        b"<a href=",
    ],
    *[
        b"<div style='display:none'>",
        b"<script>",
        b"<table>",
        b"<template>",
        b"<style>",
        b"\x1b$B",
        "раyраl".encode(),
        b"hello",
    ],
]
MESSAGES = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join),
    st.lists(st.sampled_from(PIECES), max_size=40).map(
        lambda pieces: (
            b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + b"".join(pieces)
        )
    ),
)


@settings(max_examples=600, deadline=None)
@given(MESSAGES)
@example(b"From: a@b.example\r\nContent-Type: text/html\r\n\r\n<template><template>x</template></template>")
@example(b"From: a@b.example\r\nContent-Type: text/html\r\n\r\n<frameset><frame src=x></frameset>")
def test_any_message(content: bytes) -> None:
    message = parse(content)
    found = {name: getattr(message, name) for name in PROPERTIES}
    assert set(message.defects) <= set(DEFECTS)
    assert isinstance(found["text"], str)
    assert 0 <= message.fingerprint < 1 << 64
    assert 0 < message.headers.end <= len(content) or not content or message.headers.end == len(content)
    names = features.extract(message)
    assert len(names) == len(set(names))
    # Read twice, it says the same.
    assert {name: getattr(parse(content), name) for name in PROPERTIES} == found


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200),
    st.one_of(st.sampled_from(["utf-8", "utf-7", "gb2312", "hz", "utf-16", "big5"]), st.text(max_size=20)),
)
def test_any_charset(data: bytes, label: str) -> None:
    text, defect = decode(data, label)
    assert isinstance(text, str)
    assert defect in (None, "unknown_charset", "undecodable_text")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(st.text(max_size=10), st.sampled_from(["=?utf-8?B?w4Q=?=", "=?x?q?=41?=", "=?utf-8?b?!?=", " "]))
    )
)
def test_any_header_text(pieces: list[str]) -> None:
    text, _ = header_text("".join(pieces), 300)
    assert len(text) <= 300


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=8), st.sampled_from(["<p>", "<a href='http://x.example'>", "<script>", "<b hidden>"])
        )
    )
)
def test_any_html(pieces: list[str]) -> None:
    source = "".join(pieces)
    view = see(source)
    assert len(view.text) <= len(source) * 3 + 10
