"""What a domain says about its mail servers: MTA-STS policies and TLSA records, read by hand."""

from __future__ import annotations

import contextlib
import hashlib
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.delivery.dane import Tlsa, public_key, usable, vouched
from outbound_guard.delivery.mta_sts import Policy, PolicyError, parse

RIGHT = b"version: STSv1\r\nmode: enforce\r\nmx: mx.there.test\r\nmx: *.Mail.There.test\r\nmax_age: 86400\r\n"


def test_a_policy() -> None:
    policy = parse(RIGHT, "1", 1000.0)
    assert policy == Policy("1", "enforce", ("mx.there.test", "*.mail.there.test"), 87_400.0)
    for name, named in {
        "mx.there.test": True,
        "MX.There.test.": True,
        "a.mail.there.test": True,
        "mail.there.test": False,
        "a.b.mail.there.test": False,  # RFC 8461 4.1: one label.
        "there.test": False,
        "evilmx.there.test": False,
    }.items():
        assert policy.names(name) == named, name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((b"STSv1", b"STSv2"), "version"),
        ((b"mode: enforce", b"mode: maybe"), "mode"),
        ((b"mode: enforce\r\n", b""), "mode"),
        ((b"86400", b"-1"), "max_age"),
        ((b"86400", b"1" * 11), "max_age"),
        ((b"86400", "٣".encode()), "max_age"),
        ((b"mx: mx.there.test", b"mx: *.*.test"), "mail server"),
        ((b"mx: mx.there.test", b"mx: \xff"), "UTF-8"),
        ((b"mx: ", b"x: "), "mail server"),
    ],
)
def test_what_is_none(change: tuple[bytes, bytes], said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        parse(RIGHT.replace(*change), "1", 0.0)


def test_it_holds_a_year_at_most() -> None:
    assert parse(RIGHT.replace(b"86400", b"9999999999"), "1", 0.0).until == 31_557_600


@given(st.binary(max_size=300))
def test_any_octets(content: bytes) -> None:
    for text in (content, RIGHT[:20] + content, RIGHT + content):
        with contextlib.suppress(PolicyError):
            parse(text, "1", 0.0)


@pytest.fixture(scope="module")
def certificate() -> bytes:
    return ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert("mx.there.test").cert_chain_pems[0].bytes().decode())


def test_the_public_key_of_a_certificate(certificate: bytes) -> None:
    key = x509.load_der_x509_certificate(certificate).public_key()
    expected = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert public_key(certificate) == expected


def test_a_cut_certificate(certificate: bytes) -> None:
    for length in range(0, len(certificate), 7):
        with pytest.raises(ValueError, match="certificate"):
            public_key(certificate[:length])


@given(st.binary(max_size=200))
def test_any_octets_as_a_certificate(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        public_key(content)
    assert vouched((Tlsa(3, 1, 1, b"\0" * 32),), [content]) is None


def test_what_fits(certificate: bytes) -> None:
    other = ssl.PEM_cert_to_DER_cert(trustme.CA().cert_pem.bytes().decode())
    for selector, chosen in ((0, certificate), (1, public_key(certificate))):
        for matching, data in ((0, chosen), (1, hashlib.sha256(chosen).digest()), (2, hashlib.sha512(chosen).digest())):
            [record] = usable([f"3 {selector} {matching} {data.hex()}"])
            assert vouched((record,), [certificate, other]) == b""
            assert vouched((record,), [other, certificate]) is None  # It is not the server's own.
            [record] = usable([f"2 {selector} {matching} {data.hex()}"])
            assert vouched((record,), [other, certificate]) == certificate
    assert vouched((Tlsa(3, 0, 0, certificate),), []) is None


@pytest.mark.parametrize(
    "record", ["0 0 0 00", "1 1 1 " + "0" * 64, "3 2 1 " + "0" * 64, "3 1 3 00", "3 1 1 00", "3 1", "x y z 00", "3 0 0"]
)
def test_records_that_mean_nothing(record: str) -> None:
    assert usable([record]) == ()
