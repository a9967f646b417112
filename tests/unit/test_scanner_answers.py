"""What the answers of rspamd, spamd and clamd mean, and which are nonsense."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.scanners import clamav, rspamd, spamassassin
from outbound_guard.scanners.opinion import Nonsense

OK = b"stream: OK\0"


def http(body: object, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{json.dumps(body)}".encode()


@pytest.mark.parametrize(
    ("action", "result"),
    [
        ("reject", "spam"),
        ("add header", "spam"),
        ("rewrite subject", "spam"),
        ("greylist", "clean"),
        ("soft reject", "clean"),
        ("no action", "clean"),
    ],
)
def test_rspamd(action: str, result: str) -> None:
    symbols = {"A": {"score": 0.5}, "B": {"score": 7}, "C": {"score": -3}, "D": {}, "E": {"score": 6.0}}
    said = rspamd.read(http({"action": action, "score": 10.5, "required_score": 15, "symbols": symbols}))
    assert said == (result, f"{action}, 10.5 of 15.0, B, E, A, D")


SOUND = {"action": "reject", "score": 15.0, "required_score": 15.0, "symbols": {}}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 smtp.example.net ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        http(SOUND, "500 Internal Server Error"),
        http([]),
        http({}),
        http("spam"),
        http(SOUND | {"action": "explode"}),
        http(SOUND | {"action": ["reject"]}),
        http(SOUND | {"score": "many"}),
        http(SOUND | {"score": float("nan")}),
        http(SOUND | {"required_score": float("inf")}),
        http(SOUND | {"symbols": [1]}),
        http(SOUND | {"symbols": {"A": {"score": None}}}),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
    ],
)
def test_rspamd_nonsense(answer: bytes) -> None:
    with pytest.raises(Nonsense):
        rspamd.read(answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.3 / 5.0\r\n\r\nA,B\r\n", ("spam", "15.3 of 5.0, A, B")),
        (b"SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: False ; -0.1 / 5.0\r\n\r\n", ("clean", "-0.1 of 5.0")),
    ],
)
def test_spamassassin(answer: bytes, said: tuple[str, str]) -> None:
    assert spamassassin.read(answer) == said


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SPAMD/1.0 76 Bad header line: x\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\nSpam: Maybe ; 1 / 5\r\n\r\n",
        b"SPAMD/1.1 75 EX_TEMPFAIL\r\nSpam: True ; 15.3 / 5.0\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\n\r\nSpam: True ; 15.3 / 5.0\r\n\r\n",
    ],
)
def test_spamassassin_nonsense(answer: bytes) -> None:
    with pytest.raises(Nonsense):
        spamassassin.read(answer)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("Win.Trojan.Agent-1234", "virus"),
        ("Eicar-Test-Signature", "virus"),
        ("Guard.Test.Harmless.UNOFFICIAL", "virus"),
        ("PUA.Win.Tool.Packed-1", "spam"),
        ("Heuristics.Phishing.Email.SpoofedDomain", "spam"),
        ("Sanesecurity.Junk.1234.UNOFFICIAL", "spam"),
        ("SecuriteInfo.com.Spam-1.UNOFFICIAL", "spam"),
    ],
)
def test_clamav(name: str, result: str) -> None:
    assert clamav.read(f"stream: {name} FOUND\0".encode()) == (result, name)
    assert clamav.read(OK)[0] == "clean"


@pytest.mark.parametrize(
    "answer",
    [b"", b"INSTREAM size limit exceeded. ERROR\0", b"stream: OK", b"UNKNOWN COMMAND\0", b"stream:  FOUND\0", OK * 2],
)
def test_clamav_nonsense(answer: bytes) -> None:
    with pytest.raises(Nonsense):
        clamav.read(answer)


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n\r\n", b"SPAMD/1.1 0 EX_OK\r\n", b"stream: "])
)
def test_no_answer_raises_anything_else(answer: bytes, before: bytes) -> None:
    for read in (rspamd.read, spamassassin.read, clamav.read):
        with contextlib.suppress(Nonsense):
            result, reason = read(before + answer)
            assert result in ("clean", "spam", "virus")
            assert len(reason) <= 200
            assert reason.isprintable()
