"""Reading what a next hop says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.delivery.replies import (
    KEPT_LINES,
    KEPT_OCTETS,
    LONGEST,
    LONGEST_TEXT,
    MalformedError,
    ReplyReader,
    reply_of,
)
from outbound_guard.reply import Reply

STREAM = b"250-first\r\n250 second\r\n354\r\n550-5.1.1 no\r\n550-5.1.1\r\n550 5.1.1 such user\r\n250 bare\n"
READ = [
    (250, [b"first", b"second"]),
    (354, [b""]),
    (550, [b"5.1.1 no", b"5.1.1", b"5.1.1 such user"]),
    (250, [b"bare"]),
]


@given(st.lists(st.integers(1, 20)))
def test_replies_are_read_however_they_are_cut(cuts: list[int]) -> None:
    reader, found, rest = ReplyReader(), [], STREAM
    for cut in cuts:
        found += list(reader.feed(rest[:cut]))
        rest = rest[cut:]
    found += list(reader.feed(rest))
    assert found == READ
    assert reader.untouched


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\r\n",
        b"25 no\r\n",
        b"999 no\r\n",
        b"150 no\r\n",
        b"250_no\r\n",
        b"250-a\r\n251 b\r\n",
        b"\xff\xfb\n",
    ],
)
def test_what_is_no_reply_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        list(ReplyReader().feed(data))


def test_good_replies_before_a_malformed_one_are_read() -> None:
    found = []
    with pytest.raises(MalformedError):
        found.extend(ReplyReader().feed(b"250 a\r\nwhat\r\n"))
    assert found == [(250, [b"a"])]


def test_of_a_reply_with_10000_lines_the_first_are_kept() -> None:
    data = b"".join(b"550-line %d\r\n" % n for n in range(10_000)) + b"550 end\r\n250 next\r\n"
    first, second = list(ReplyReader().feed(data))
    assert first == (550, [b"line %d" % n for n in range(KEPT_LINES)])
    assert second == (250, [b"next"])


def test_no_more_than_64_kb_of_a_reply_are_kept() -> None:
    [(_, lines)] = ReplyReader().feed((b"550-" + b"x" * 10_000 + b"\r\n") * 20 + b"550 end\r\n")
    assert sum(map(len, lines)) == KEPT_OCTETS


def test_no_more_than_4_kb_of_a_reply_are_passed_on() -> None:
    text = reply_of(550, [b"5.1.1 " + b"x" * 900] * 100).text
    assert LONGEST_TEXT - 100 < len(text) <= LONGEST_TEXT
    assert "5.1.1" not in text


def test_a_reply_or_a_line_without_an_end_is_given_up() -> None:
    reader = ReplyReader()
    line = b"550-" + b"x" * 996 + b"\r\n"
    for _ in range(LONGEST // 1000):
        assert not list(reader.feed(line))
    with pytest.raises(MalformedError):
        list(reader.feed(line))
    with pytest.raises(MalformedError):
        list(ReplyReader().feed(b"250 " + b"x" * (KEPT_OCTETS + 1)))


def test_it_says_whether_more_came_behind_a_reply() -> None:
    reader = ReplyReader()
    assert [reader.empty for _ in reader.feed(b"250 a\r\n250 b\r\n")] == [False, True]
    assert [reader.empty for _ in reader.feed(b"250 a\r\n2")] == [False]
    assert not reader.untouched


def test_enhanced_code_and_lines_become_a_reply() -> None:
    assert reply_of(550, [b"5.1.1 no", b"5.1.1 such user"]) == Reply(550, "5.1.1", "no\nsuch user")


def test_control_characters_are_not_passed_on() -> None:
    wire = reply_of(550, [b"a\rb\x00c\x1b[2J", "é\u0085ü\u2028".encode(), b"\xff"]).wire()
    assert wire == "550-a b c [2J\r\n550-é ü \r\n550 \ufffd\r\n".encode()
