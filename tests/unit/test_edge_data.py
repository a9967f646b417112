"""The reader of messages: where one ends, and what is refused. The fuzz in tests/fuzz looks for the rest."""

from __future__ import annotations

import pytest

from outbound_guard.edge.data import DataReader, header, hops
from outbound_guard.mail import MOST_FIELDS, Headers


def read(*chunks: bytes, limit: int = 1000) -> DataReader:
    reader = DataReader(limit)
    for chunk in chunks[:-1]:
        assert not reader.feed(chunk)
    assert reader.feed(chunks[-1])
    return reader


def in_every_way(stream: bytes, limit: int = 1000) -> DataReader:
    """Cut in two at every place, and octet by octet: the outcome must not depend on it."""
    whole = read(stream, limit=limit)
    expected = (whole.fault, whole.content() if whole.fault is None else None, whole.rest)
    end = len(stream) - len(whole.rest)
    cuts = [[stream[:cut], stream[cut:]] for cut in range(1, end)]
    cuts.append([stream[i : i + 1] for i in range(end - 1)] + [stream[end - 1 :]])
    for chunks in cuts:
        reader = read(*chunks, limit=limit)
        assert (reader.fault, reader.content() if reader.fault is None else None, reader.rest) == expected, chunks
    return read(stream, limit=limit)


@pytest.mark.parametrize(
    ("stream", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n...\r\n.b\r\n\r\n..\r\n.\r\n", b"a\r\n..\r\nb\r\n\r\n.\r\n"),
        (b"a.\r\n.\r\n", b"a.\r\n"),
        (b"\0\xff.\r\n.\r\n", b"\0\xff.\r\n"),
        (b"x" * 5000 + b"\r\n.\r\n", b"x" * 5000 + b"\r\n"),
    ],
)
def test_a_message(stream: bytes, content: bytes) -> None:
    reader = read(stream + b"QUIT\r\n", limit=10_000)
    assert (reader.fault, reader.content(), reader.rest) == (None, content, b"QUIT\r\n")
    if len(stream) < 100:
        in_every_way(stream)


@pytest.mark.parametrize(
    "end",
    [
        b"\n.\n",
        b"\n.\r\n",
        b"\r.\r\n",
        b"\r\n.\n",
        b"\r\n.\r",
        b"\r\n.\r\r\n",
        b"\r.\r",
        b"\r.\n",
        b"\n\n.\r\n",
        b"\r\r\n",
    ],
)
def test_a_smuggled_end_ends_nothing(end: bytes) -> None:
    stream = b"a" + end + b"MAIL FROM:<evil@example.com>"
    reader = DataReader(1000)
    assert not reader.feed(stream)
    assert reader.feed(b"\r\n.\r\nNOOP\r\n")
    assert (reader.fault, reader.rest) == ("line_end", b"NOOP\r\n")
    assert in_every_way(stream + b"\r\n.\r\n").fault == "line_end"


@pytest.mark.parametrize("stream", [b"\n.\r\n", b"\r.\r\n", b".\n\r\n.\r\n", b".\r", b".\r\r\n"])
def test_the_first_line_is_no_exception(stream: bytes) -> None:
    reader = DataReader(1000)
    done = reader.feed(stream) or reader.feed(b"\r\n.\r\n")
    assert done
    assert reader.fault == "line_end"


@pytest.mark.parametrize(
    ("stream", "limit", "fault"),
    [
        (b"12345678\r\n.\r\n", 10, None),
        (b"123456789\r\n.\r\n", 10, "size"),
        (b"..345678\r\n..\r\n.\r\n", 12, None),
        (b"..345678\r\n..\r\n.\r\n", 11, "size"),
        (b"..34567\r\n..\r\n.\r\n", 11, None),
        (b".\r\n", 0, None),
        (b"\r\n.\r\n", 0, "size"),
    ],
)
def test_size(stream: bytes, limit: int, fault: str | None) -> None:
    exact = len(in_every_way(stream, limit=100).content())
    assert (exact > limit) == (fault == "size")
    assert in_every_way(stream, limit=limit).fault == fault


def test_what_is_too_long_is_not_kept() -> None:
    reader = DataReader(1000)
    for _ in range(1000):
        reader.feed(b"x" * 998 + b"\r\n")
    assert reader.fault == "size"
    assert len(reader._content) <= 2000
    assert reader.feed(b".\r\nNOOP\r\n")
    assert reader.rest == b"NOOP\r\n"


def test_an_end_cannot_arise_from_what_was_thrown_away() -> None:
    # A reader that keeps the wrong octets joins CRLF from here with a dot from there.
    reader = DataReader(10)
    for chunk in (b"x" * 100, b"\r\n", b"y" * 100, b".\r\n", b"\r\n", b"z.\r\n"):
        assert not reader.feed(chunk)
    assert reader.feed(b".\r\n")


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"", 0),
        (b"Received: a\r\n", 1),
        (b"received: a\r\n b\r\nRECEIVED: c\r\nX-Received: d\r\n\r\nReceived: e\r\n", 2),
        (b"\r\nReceived: body\r\n\r\nReceived: body\r\n", 0),
        (b"Subject: Received: x\r\n\r\n", 0),
    ],
)
def test_hops(content: bytes, number: int) -> None:
    head = header(content, 1000)
    assert head is not None
    assert hops(head) == number


def test_a_header_that_is_too_long_is_none() -> None:
    for content in (b"a: " + b"x" * 97 + b"\r\n\r\nbody", b"x" * 100, b"a: b\r\n" * 16 + b"x" * 4):
        assert header(content, 100) is not None
        assert header(content, 99) is None
    assert header(b"\r\n" + b"x" * 1000, 10) == b""


@pytest.mark.parametrize("folds", [0, 3])
def test_a_header_has_so_many_fields_at_most(folds: int) -> None:
    def message(fields: int) -> bytes:
        return b"a: b\r\n" * (fields - 1) + b"To: x," + b"\r\n\tx," * folds + b"\r\n\r\nx: y\r\n"

    head = header(message(MOST_FIELDS), 524_288)
    assert head is not None
    assert len(Headers(head).fields) == MOST_FIELDS
    assert header(message(MOST_FIELDS + 1), 524_288) is None


def test_lines_that_are_no_field_hide_none() -> None:
    last = b"X-AuthUser: eve@x.example\r\n\r\n"
    for line in (b"a\r\n", b":\r\n", b"a:\r\n"):
        assert header(line * MOST_FIELDS + last, 524_288) is None
        head = header(line * (MOST_FIELDS - 1) + last, 524_288)
        assert head is not None
        assert Headers(head).get("x-authuser") == "eve@x.example"
