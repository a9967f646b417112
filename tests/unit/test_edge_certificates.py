"""Certificates that are replaced while they are in use."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from outbound_guard.edge.tls import Certificate, end_of
from tests.live_edge import Client, LiveEdge, certificates


def write(folder: Path, certificate: trustme.LeafCert) -> None:
    """Replace both files as a certificate tool does."""
    certificate.private_key_pem.write_to_path(folder / "new.key")
    (folder / "new.crt").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    os.replace(folder / "new.key", folder / "tls.key")
    os.replace(folder / "new.crt", folder / "tls.crt")


def issue(days: int = 30) -> trustme.LeafCert:
    now = datetime.datetime.now(datetime.UTC)
    return certificates()[0].issue_cert("localhost", not_after=now + datetime.timedelta(days=days))


def served(context: ssl.SSLContext) -> bytes:
    """The certificate that a client is shown, in DER."""
    trusting = ssl.create_default_context()
    certificates()[0].configure_trust(trusting)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert(binary_form=True) or b""


def der(certificate: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, issue(30))
    return tmp_path


def made(folder: Path) -> Certificate:
    return Certificate(folder / "tls.crt", folder / "tls.key", "listener[0]")


def test_a_new_pair_is_used_when_it_has_settled(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    certificate = made(folder)
    context, first = certificate.context, served(certificate.context)
    assert certificate.refresh() == ""
    new = issue(60)
    write(folder, new)
    assert certificate.refresh() == ""  # It may still be changing.
    assert served(context) == first
    assert certificate.refresh() == "ok"
    assert served(context) == der(new) != first
    assert certificate.refresh() == ""
    assert certificate.ends == x509.load_der_x509_certificate(der(new)).not_valid_after_utc.timestamp()
    assert "read again" in caplog.text
    write(folder, last := issue(90))
    assert certificate.refresh(at_once=True) == "ok"
    assert served(context) == der(last)


@pytest.mark.parametrize("broken", ["nonsense", "other key", "no key", "empty"])
def test_a_pair_that_cannot_be_used_changes_nothing(
    folder: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = made(folder)
    first, ends = served(certificate.context), certificate.ends
    if broken == "nonsense":
        (folder / "tls.crt").write_text("nonsense")
    elif broken == "other key":
        issue().private_key_pem.write_to_path(folder / "tls.key")
    elif broken == "empty":
        (folder / "tls.key").write_bytes(b"")
    else:
        (folder / "tls.key").unlink()
    assert [certificate.refresh(), certificate.refresh(), certificate.refresh()] == ["", "refused", ""]
    assert (served(certificate.context), certificate.ends) == (first, ends)
    assert "the certificate stays as it was: listener[0]." in caplog.text
    write(folder, new := issue())
    assert [certificate.refresh(), certificate.refresh()] == ["", "ok"]
    assert served(certificate.context) == der(new)


def test_half_a_change_is_not_seen(folder: Path) -> None:
    certificate = made(folder)
    new = issue()
    (folder / "tls.crt").write_bytes(new.cert_chain_pems[0].bytes())
    assert certificate.refresh() == ""
    new.private_key_pem.write_to_path(folder / "tls.key")
    assert [certificate.refresh(), certificate.refresh()] == ["", "ok"]


@pytest.mark.parametrize("year", [2049, 2050, 2500])
def test_the_end_of_a_certificate(year: int) -> None:
    # From 2050 on the date is written in another way (RFC 5280 4.1.2.5).
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 60)])
    end = datetime.datetime(year, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(2**150).not_valid_before(datetime.datetime(2020, 1, 1)).not_valid_after(end)
    octets = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    assert end_of(octets) == end.timestamp()
    for cut in range(120):
        with pytest.raises((ValueError, IndexError)):
            end_of(octets[:cut])


@pytest.mark.parametrize("kind", ["starttls", "implicit"])
async def test_sessions_get_the_new_one_without_a_restart(tmp_path: Path, kind: str) -> None:
    async with LiveEdge(tmp_path, {"listener": {"tls": kind}}) as edge:
        new = issue()
        for expected in (None, der(new)):
            if expected:
                write(tmp_path, new)
                assert edge.certificate.refresh(at_once=True) == "ok"
            client = await Client.connect(edge)
            assert (await client.reply()).startswith("220 ")
            if kind == "starttls":
                assert (await client.ask(b"STARTTLS\r\n")).startswith("220 ")
                await client.start_tls()
            session = client.writer.get_extra_info("ssl_object")
            assert (session.getpeercert(binary_form=True) == der(new)) == bool(expected)
            assert (await client.ask(b"EHLO a\r\n")).startswith("250")
            await client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async with LiveEdge(tmp_path, {"listener": {"tls": "implicit"}}) as edge:
        client = await Client.connect(edge, version=version)
        assert (await client.reply()).startswith("220 ")
        assert client.writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        await client.close()


async def test_old_versions_and_ciphers_without_forward_secrecy_are_refused(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"listener": {"tls": "implicit"}}) as edge:
        for version, ciphers in (
            (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
            (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384:AES128-SHA:@SECLEVEL=0"),
            (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"),
        ):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await Client.connect(edge, version=version, ciphers=ciphers)
    assert edge.counts["smtp_tls_failed_total", "127.0.0.1:0"] == 3


async def test_a_handshake_counts_as_a_connection(tmp_path: Path) -> None:
    settings = {"listener": {"tls": "implicit"}, "limits": {"connections_per_address": 1}}
    async with LiveEdge(tmp_path, settings) as edge:
        _, writer = await asyncio.open_connection(edge.host, edge.port)
        reader, second = await asyncio.open_connection(edge.host, edge.port)
        assert await reader.read() == b""
        assert edge.counts["smtp_sessions_refused_total", "127.0.0.1:0", "connections_per_address"] == 1
        writer.close()
        second.close()
