"""Bodies that come again: what is said of a copy is what would have been said of it alone."""

from __future__ import annotations

import pytest

from outbound_guard.content import Bodies, body, parse

TEXT = (
    b"Dear Alice, your order has left our house today and will be with you on Friday at the latest. "
    b"See https://shop.example/orders/17 or write to orders@shop.example. Yours, the shop of the harbour"
)
HTML = b"<html><body><p>" + TEXT.replace(b"Alice", b"<b>Alice</b>") + b"</p></body></html>"
WHAT = (
    "charset",
    "attachments",
    "html",
    "text",
    "lower_text",
    "language",
    "links",
    "urls",
    "written_hosts",
    "defects",
    "fingerprint",
    "sketch",
)


def message(to: str, text: bytes, kind: str = "text/plain") -> bytes:
    return f"From: shop@shop.example\r\nTo: {to}\r\nContent-Type: {kind}\r\n\r\n".encode() + text


@pytest.mark.parametrize(("text", "kind"), [(TEXT, "text/plain"), (HTML, "text/html")])
def test_copies_say_what_each_says_alone_whoever_they_are_for(text: bytes, kind: str) -> None:
    bodies = Bodies()
    # The second one's name stands in the text, so it is no part of what the copies have in common.
    for to in ("bob@there.example", "Alice <alice@there.example>", "carol@there.example"):
        known, alone = parse(message(to, text, kind), bodies), parse(message(to, text, kind))
        assert [getattr(known, name) for name in WHAT] == [getattr(alone, name) for name in WHAT]
        assert known.constant_words() == alone.constant_words()


def test_the_same_octets_are_read_anew_where_the_header_says_another_kind() -> None:
    bodies = Bodies()
    assert not parse(message("bob@there.example", HTML), bodies).html
    assert parse(message("bob@there.example", HTML, "text/html"), bodies).html


def test_one_octet_more_is_another_body() -> None:
    bodies = Bodies()
    first = parse(message("bob@there.example", TEXT), bodies)
    other = parse(message("bob@there.example", TEXT + b"s"), bodies)
    assert (first.text[-7:], other.text[-7:]) == ("harbour", "arbours")


def test_bodies_whose_hashes_were_made_to_fit_are_read_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xxhash.xxh3_64_intdigest", lambda octets: 7)
    bodies = Bodies()
    first = parse(message("bob@there.example", TEXT), bodies)
    for _ in range(2):
        other = parse(message("bob@there.example", TEXT.replace(b"harbour", b"airport")), bodies)
        assert (first.text[-7:], other.text[-7:]) == ("harbour", "airport")
    assert parse(message("bob@there.example", TEXT), bodies)._read() is first._read()


def test_what_is_wrong_with_one_header_is_not_held_against_the_next() -> None:
    bodies = Bodies()
    bad = b"To: bob@there.example\r\nContent-Type: text/plain\r\n\r\n" + TEXT
    assert "no_from" in parse(bad, bodies).defects
    assert "no_from" not in parse(message("bob@there.example", TEXT), bodies).defects


def test_the_oldest_go_when_there_are_too_many_or_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_again(bodies: Bodies, text: bytes) -> bool:
        read = [parse(message("bob@there.example", text), bodies)._read() for _ in range(2)]
        return read[0] is not read[1]

    few = Bodies(2)
    kept = parse(message("bob@there.example", TEXT), few)._read()
    for number in range(2):
        parse(message("bob@there.example", TEXT + b"%d" % number), few).read()
    assert parse(message("bob@there.example", TEXT), few)._read() is not kept
    assert read_again(Bodies(0), TEXT)
    assert not read_again(Bodies(), TEXT)
    # A large one is not kept at all, and all together have so many octets at most.
    assert read_again(Bodies(), b"x" * 70_000)
    monkeypatch.setattr(body, "KEPT_OCTETS", len(TEXT) + 5)
    assert not read_again(Bodies(), TEXT)
    one = Bodies()
    kept = parse(message("bob@there.example", TEXT), one)._read()
    parse(message("bob@there.example", TEXT + b"!"), one).read()
    assert parse(message("bob@there.example", TEXT), one)._read() is not kept
