"""What a listener's configuration must fulfil, and the TLS context made of it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outbound_guard.config import Config, ConfigError
from outbound_guard.edge import check, tls_context
from tests.live_edge import certificates


def config(folder: Path, **listener: Any) -> Config:
    table = {"path": str(folder / "c.toml"), "auth": {"passwords": "passwords"}, "listener": [{}, listener]}
    return msgspec.convert(table, Config)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _, certificate = certificates()
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    (tmp_path / "nonsense").write_text("nonsense")
    (tmp_path / "other.key").write_bytes(certificates()[0].issue_cert("other.example").private_key_pem.bytes())
    return tmp_path


def test_good_listeners(folder: Path) -> None:
    plain = config(folder)
    check(plain.listener[1], plain)
    assert tls_context(plain.listener[1], plain) is None
    for kind in ("starttls", "implicit"):
        secure = config(folder, tls=kind, auth="required", certificate="tls.crt", private_key="tls.key")
        check(secure.listener[1], secure)
        context = tls_context(secure.listener[1], secure)
        assert context is not None
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("listener", "error"),
    [
        ({"address": "localhost"}, r"listener\[1\]\.address: .*HOST:PORT"),
        ({"trusted": ["10.0.0.0/33"]}, r"listener\[1\]\.trusted: "),
        ({"proxy_protocol": ["10.0.0.0/33"]}, r"listener\[1\]\.proxy_protocol: "),
        ({"xclient": ["localhost"]}, r"listener\[1\]\.xclient: "),
        ({"tls": "starttls"}, r'listener\[1\]\.certificate: is needed for tls = "starttls"'),
        ({"tls": "implicit", "certificate": "tls.crt"}, r"listener\[1\]\.private_key: is needed"),
        (
            {"tls": "starttls", "certificate": "none", "private_key": "tls.key"},
            r"listener\[1\]\.certificate: .*cannot be read: No such file",
        ),
        (
            {"tls": "starttls", "certificate": "nonsense", "private_key": "tls.key"},
            r"listener\[1\]\.certificate: nonsense and private_key tls.key cannot be used",
        ),
        (
            {"tls": "starttls", "certificate": "tls.crt", "private_key": "other.key"},
            r"listener\[1\]\.certificate: .*KEY_VALUES_MISMATCH",
        ),
    ],
)
def test_bad_listeners(folder: Path, listener: dict[str, Any], error: str) -> None:
    bad = config(folder, **listener)
    with pytest.raises(ConfigError, match=error):
        check(bad.listener[1], bad)


def test_auth_needs_passwords(folder: Path) -> None:
    bad = msgspec.convert({"listener": [{"auth": "required"}]}, Config)
    with pytest.raises(ConfigError, match=r'auth\.passwords: is needed for auth = "required" of listener\[0\]'):
        check(bad.listener[0], bad)
