"""Paths and parameters of MAIL and RCPT."""

from __future__ import annotations

import pytest

from outbound_guard.edge.parameters import parameters
from outbound_guard.edge.paths import forward_path, reverse_path, unfit_host_name

GOOD = [
    "a@b.example",
    "a.b+c=d@b.example",
    "!#$%&'*+-/=?^_`{|}~@b.example",
    "a..b.@b.example",
    '"a b"@b.example',
    '"a\\"b\\\\@>"@b.example',
    '""@b.example',
    "a@[127.0.0.1]",
    "a@[IPv6:::1]",
    "a@localhost",
    "a@xn--bcher-kva.example",
    "用户@例子.广告",
    "Dörte@Sörensen.example",
    "x" * 200 + "@b.example",
]
BAD = [
    "a",
    "@b.example",
    "a@",
    "a@b@c",
    "a b@c",
    "a@b c",
    "a@.b",
    "a@b.",
    "a@b..c",
    "a,b@c",
    "a@b;c",
    "a:b@c",
    "<a@b",
    "a\\@b@c",
    '"a@b',
    'a"b"@c',
    '"a"b@c',
    '"a\n"@c',
    '"\\\x01"@c',
    "a\0@b",
    "a@b\0",
    "a\x7f@b",
    "a\x9f@b",
    "a\u2028@b",
    "a\u3000@b",
    "a@b\u00a0c",
    "a@[127.0.0]",
    "a@[1::1]",
    "a@[IPv6:127.0.0.1]",
    "a@[]",
    "a@" + "x" * 256,
    "x" * 320 + "@b",
    "(c)a@b",
    "a@b(c)",
]


@pytest.mark.parametrize("address", GOOD)
def test_good_addresses(address: str) -> None:
    for text in (f"<{address}>", f" <{address}>", f"<@r.example,@s.example:{address}>"):
        assert reverse_path(text) == (address, "")
        assert forward_path(text) == (address, "")
    assert reverse_path(f"<{address}> SIZE=1  BODY=7BIT") == (address, "SIZE=1  BODY=7BIT")


@pytest.mark.parametrize("address", BAD)
def test_bad_addresses(address: str) -> None:
    assert reverse_path(f"<{address}>") is None
    assert forward_path(f"<{address}>") is None


@pytest.mark.parametrize(
    "text",
    ["", "<", "a@b", "<a@b", "<a@b>x", "<a@b>,<c@d>", "x<a@b>", "<<a@b>>", "<a@b>\n", "<r.example:a@b>", "<@r:>"],
)
def test_what_is_no_path(text: str) -> None:
    assert reverse_path(text) is None
    assert forward_path(text) is None


def test_null_sender_and_postmaster() -> None:
    assert reverse_path("<>") == ("", "")
    assert reverse_path("<> SIZE=1") == ("", "SIZE=1")
    assert forward_path("<>") is None
    assert forward_path("<postMaster>") == ("postMaster", "")
    assert reverse_path("<postmaster>") is None


def test_long_nonsense_is_refused_at_once() -> None:
    # Would take for ever if the expression could go back over what it has read.
    for text in ("<" + "a." * 6000, "<" + "@a," * 4000, '<"' + "\\" * 12_000, "<a@" + "b." * 6000 + ">"):
        assert reverse_path(text) is None


def test_parameters() -> None:
    assert parameters("size=10 SMTPUTF8 AUTH=a+2Bb X-Y=1") == {
        "SIZE": "10",
        "SMTPUTF8": None,
        "AUTH": "a+2Bb",
        "X-Y": "1",
    }
    for text in ("SIZE=", "=1", "SIZE=1 size=2", "-X", "A=b=c", "A=\x7f", "A_B=1", "Ä=1"):
        assert parameters(text) is None


def test_host_names() -> None:
    for name in ("a", "a.example", "[192.0.2.1]", "[IPv6:::1]", "USER_PC", "a:b/c"):
        assert not unfit_host_name(name)
    for name in ("a b", "a(b)", "a;b", "a\tb", "a\x7fb", "bücher", "<a>", '"a"', "a\\b", "a,b", "x" * 256):
        assert unfit_host_name(name)
