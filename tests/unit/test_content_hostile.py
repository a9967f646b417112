"""Messages made to stall a parser: each is read to the end of what is looked at, in bounded work."""

import time

import pytest

from outbound_guard.content import Message, features, parse

HEAD = b"From: a@b.example\r\nTo: x@y.example\r\nSubject: s\r\n"
HTML = HEAD + b"Content-Type: text/html\r\n\r\n"
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
BOLD = HTML + b"<p>%s" + b"<p>x" * 9_000
PROPERTIES = [name for name in dir(Message) if isinstance(getattr(Message, name), property)]


def nested(depth: int) -> bytes:
    out = HEAD
    for level in range(depth):
        out += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
    return out


CASES = {
    "long text": HEAD + b"\r\n" + b"hello world this is text\r\n" * 40_000,
    "one line": HEAD + b"\r\n" + b"a" * 1_000_000,
    "different words": HEAD + b"\r\n" + b"".join(b"%x " % (n * 7919) for n in range(130_000)),
    "nested multiparts": nested(20_000),
    "nested messages": HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 30_000,
    "many parts": MIXED + b"--b\r\n\r\nx\r\n" * 100_000,
    "almost delimiters": MIXED + b"--bx\r\n\r\nx\r\n" * 100_000,
    "dashes": HEAD + b'Content-Type: multipart/mixed; boundary="' + b"-" * 69 + b'"\r\n\r\n' + b"-" * 1_000_000,
    "header fields": b"a: b\r\n" * 170_000,
    "folded field": b"Subject: a\r\n" + b" b\r\n" * 250_000,
    "encoded words": b"Subject: " + b"=?utf-8?q?a?= " * 70_000 + b"\r\n\r\n",
    "parameters": b"Content-Type: multipart/mixed; " + b"a=b;" * 200_000 + b"\r\n\r\n",
    "quotes": b"From: " + b'"\\' * 400_000 + b"\r\n\r\n",
    "addresses": b"From: " + b"<a@b>," * 100_000 + b"\r\n\r\n",
    "nested elements": HTML + b"<b>" * 300_000,
    "hidden elements": HTML + b'<div style="display:none">x' * 40_000,
    "white elements": HTML + b'<div style="color:#fff">x' * 40_000,
    "links": HTML + b'<a href="http://a.b.c.example/x">www.foo.example</a>' * 20_000,
    "links around tables": HTML + b"<a href=//x.example><table>" * 20_000,
    "lists in lists": HTML + b"<ol>" * 250_000,
    "elements closed by others": HTML + b"<dl></p></x>" * 90_000,
    "bold again in each paragraph": BOLD % b"".join(b"<b a%d>" % n for n in range(450)),
    "bold, and said to be ended": BOLD % b"".join(b"<b a%d><object></b></object>" % n for n in range(450)),
    "ends in attributes": BOLD % b"".join(b"<b a%d=</b>" % n for n in range(450)),
    "ends in comments": BOLD % b"".join(b"<b a%d><!--</b>-->" % n for n in range(450)),
    "ends of another name": BOLD % b"".join(b"<b a%d></b-x>" % n for n in range(450)),
    "links again in each paragraph": BOLD % b"".join(b"<a a%d><object>" % n for n in range(450)),
    "few tags, and bold": HTML + b"<p>" + b"".join(b"<b a%d>" % n for n in range(99)) + b"<p>x" * 99,
    "ends that end nothing": HTML + b"<x><div></x>" * 4_000,
    "ends in attributes of lists": HTML + b"<dl </dl>" * 5_333,
    "groups of options": HTML + b"<optgroup>" * 4_800,
    "definitions and items": HTML + b"<dd><li>" * 6_000,
    "cells in a drawing": HTML + b"<svg>" + b"<td>" * 6_000 + b"</q>" * 6_000,
    "deep, and many rules": HTML + b"<center>" * 1_000 + b"<hr>" * 10_000,
    "deep, and closed again": HTML + b"<div>" * 4_000 + b"</div>" * 4_000,
    "formatting": HTML + b"<p><b><i><u><font>" * 60_000,
    "brackets": HTML + b"<" * 1_000_000,
    "comments": HTML + b"<!--" * 250_000,
    "attributes": HTML + b"<a " + b"".join(b" x%d=1" % n for n in range(100_000)),
    "templates": HTML + b"<template><script>" * 60_000,
    "urls": HEAD + b"\r\n" + b"".join(b"http://x%d.y.example/ " % n for n in range(50_000)),
    "scheme ends": HEAD + b"\r\n" + b"://" * 330_000,
    "utf-7": HEAD + b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+AAA" * 250_000,
    "iso-2022-jp": HEAD + b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + b"\x1b$B\x1b(B" * 150_000,
    "broken base64": HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=a" * 500_000,
    "file names": MIXED + (b"--b\r\nContent-Type: a/b; name*0*=utf-8''" + b"%41" * 2500 + b"\r\n\r\nx\r\n") * 130,
    "nul": b"\0" * 1_000_000,
    "mixed scripts": HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "раypаl \u200b".encode() * 90_000,
    "cjk": HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "您的订单已经确认".encode() * 45_000,
}


NAMES = b" ".join(b"a%d" % n for n in range(1000))
CASES |= {
    "growing references": HTML + b"<p>" + b"&nGt;" * 9000,
    "links with attributes": HTML + b"<p><a href=x " + NAMES + b">" + b"<p>x" * 10_000,
    "links with a mark in quotes": HTML + b"<p><a href='>' " + NAMES + b">" + b"<p>x" * 10_000,
    "links with long addresses": HTML + b"<p><a href=" + "\U0001f600".encode() * 20_000 + b">" + b"<p>x" * 6000,
    "bold with attributes, few tags": HTML + b"<p><b " + NAMES * 9 + b">" + b"<p>x" * 190,
    "white on a div with attributes": HTML + b"<div " + NAMES * 3 + b">" + b'<p style="color:#fff">' * 600,
    "a tag with attributes": HTML + b"<p " + b" ".join(b"%x" % n for n in range(12_000)) + b">",
    "tags in a tag": HTML + (b"<a " * 49 + b">") * 330,
    "a name of tags": HTML + b"<x" * 24_000,
    "tags that begin with nothing": HTML + b"<\0div>" * 8000,
}


@pytest.mark.parametrize("case", CASES)
def test_a_megabyte_made_to_stall(case: str) -> None:
    spent = 1.0
    for _ in range(4):  # The least of four: the machine may be busy with other things.
        start = time.process_time()
        message = parse(CASES[case])
        for name in PROPERTIES:
            getattr(message, name)
        features.extract(message)
        spent = min(spent, time.process_time() - start)
        if spent < 0.05:
            break
    assert spent < 0.05


@pytest.mark.parametrize(
    "html",
    [
        b"<table>" + b"<tr><td><font size=2>a</td><td>b</td></tr>" * 500 + b"</table>",
        b"<svg>" + b'<path d="M0 0"/>' * 900 + b"</svg>",
        b"<p><b><span>x</b></span></p>" * 30 + b"<p class=x><span>y</span></p>" * 500,
        b"<table><tr><td><!--[if mso]><v:rect><w:anchorlock/><center>Buy</center></v:rect><![endif]--></table>" * 200,
        b"<table><tr><td><center><b>Chair</b><br><i>20</i></td></tr></table>" * 200,
        b"<div>I think we could do it as below.</div><div><br></div>" * 560,
        b"<p class=MsoNormal><span lang=EN-US>Some words of text here.<o:p></o:p></span></p>\n" * 500,
    ],
)
def test_careless_html_is_read_as_it_is(html: bytes) -> None:
    message = parse(HTML + html + b'<a href="https://evil.example/x">www.bank.example</a>')
    assert "html_deep" not in message.defects
    assert len(message.links) == (0 if len(html) > 48_000 else 1)


@pytest.mark.parametrize(
    "link",
    [
        b'<a href="https://evil.example/x"target="_blank"title="a > b">',
        b"<A\nHREF = https://evil.example/x class=y>",
        b"<a title=\"<p>\" href='https://evil.example/x' />",
        b"<a " + NAMES[:200] + b' href="https://evil.example/x">',
        b'<a data-x="' + b"y" * 500 + b'" href="https://evil.example/' + b"x" * 900 + b'">',
    ],
)
@pytest.mark.parametrize("around", [b"", b"<p>word " * 3000])
def test_a_link_is_found_however_it_is_written(link: bytes, around: bytes) -> None:
    assert [one.host for one in parse(HTML + link + b"x</a>" + around).links] == ["evil.example"]


def test_what_is_kept_is_bounded() -> None:
    message = parse(CASES["long text"])
    assert len(message.text) <= 32_000
    assert len(parse(CASES["hidden elements"]).hidden_text) <= 4_000
    assert len(parse(CASES["links"]).links) <= 100
    assert len(parse(CASES["urls"]).urls) <= 100
    assert len(parse(CASES["many parts"]).attachments) <= 60
    assert len(features.extract(message)) < 1500


def test_the_header_ends_where_it_ends_even_if_it_is_not_all_read() -> None:
    # Who removes fields before relaying goes by this place.
    content = b"From: a@b.example\r\n" + b"X: y\r\n" * 20_000 + b"X-AuthUser: x\r\n\r\nbody"
    assert content[parse(content).headers.end :] == b"body"
