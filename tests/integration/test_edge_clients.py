"""Clients that others have written, against a live edge: what they send must arrive octet for octet."""

from __future__ import annotations

import asyncio
import shutil
import smtplib
from pathlib import Path

import pytest
import uvloop

from tests.live_edge import LiveEdge, client_tls

CONTENT = b"From: a@example.com\r\nSubject: =?utf-8?q?x?=\r\n\r\n.dot\r\n..\r\n" + b"z" * 1500 + b"\r\n\xc3\xbc\r\n"


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:  # scripts/test installs it where it may (root, Debian).
        pytest.skip(f"{name} is not installed")
    return found


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")
    return output.decode(errors="replace")


def send_by_smtplib(port: int, tls: bool) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30, local_hostname="client.test") as client:
        if tls:
            client.starttls(context=client_tls())
            client.login("bob", "secret")
        client.sendmail(
            "bücher@example.com", ["b@example.net", "c@example.net"], CONTENT, ["SMTPUTF8", "BODY=8BITMIME"]
        )
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.sendmail("a@example.com", ["b@example.net"], b"x" * 3_000_000)
        assert refused.value.smtp_code == 552
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@example.com", ["nonsense"], b"x")


@pytest.mark.parametrize("tls", [False, True])
async def test_smtplib(tmp_path: Path, tls: bool) -> None:
    listener = {"tls": "starttls", "auth": "required", "trusted": []} if tls else {}
    async with LiveEdge(tmp_path, {"listener": listener, "limits": {"message_size": 2_000_000}}) as edge:
        await asyncio.to_thread(send_by_smtplib, edge.port, tls)
        [message] = edge.messages
        assert message.content == CONTENT
        assert message.envelope.mail_from == "bücher@example.com"
        assert message.envelope.recipients == ("b@example.net", "c@example.net")
        assert message.protocol == ("UTF8SMTPSA" if tls else "UTF8SMTP")
        assert message.login == ("bob" if tls else None)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_curl(tmp_path: Path, tls: str, mechanism: str) -> None:
    (tmp_path / "mail").write_bytes(CONTENT)
    async with LiveEdge(tmp_path, {"listener": {"tls": tls, "auth": "required", "trusted": []}}) as edge:
        await run(
            program("curl"),
            *("--silent", "--show-error", "--ssl-reqd", "--cacert", str(tmp_path / "ca.crt")),
            *("--url", f"{'smtps' if tls == 'implicit' else 'smtp'}://localhost:{edge.port}/client.test"),
            *("--user", "alice:secret", "--login-options", f"AUTH={mechanism}"),
            *("--mail-from", "a@example.com", "--mail-rcpt", "b@example.net", "--upload-file", str(tmp_path / "mail")),
        )
        [message] = edge.messages
        assert message.content == CONTENT
        assert (message.login, message.protocol) == ("alice", "ESMTPSA")


async def test_swaks(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"listener": {"tls": "starttls", "auth": "optional", "trusted": []}}) as edge:
        common = (program("swaks"), "--server", f"127.0.0.1:{edge.port}", "--ehlo", "client.test", "--pipeline")
        output = await run(
            *common,
            *("--from", "a@example.com", "--to", "b@example.net,c@example.net", "--header", "Subject: by swaks"),
            *(
                "--tls",
                "--auth",
                "LOGIN",
                "--auth-user",
                "relay-1",
                "--auth-password",
                "secret",
                "--body",
                ".\n..\nend",
            ),
        )
        assert "Ok: queued as ID" in output
        [message] = edge.messages
        assert message.server == "relay-1"
        assert message.envelope.recipients == ("b@example.net", "c@example.net")
        assert message.content.rstrip().endswith(b"\r\n\r\n.\r\n..\r\nend")
        refused = await asyncio.create_subprocess_exec(
            *common, "--to", "b@example.net", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await refused.communicate()
        assert b"530 5.7.0" in said


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "options",
    [("-d",), (), ("-d", "-r", "5"), ("-d", "-l", "300000")],
    ids=["one-connection", "connection-each", "recipients", "large"],
)
def test_smtp_source(tmp_path: Path, options: tuple[str, ...], loop: str) -> None:
    number = 40 if "-l" in options else 400

    async def send() -> None:
        async with LiveEdge(tmp_path) as edge:
            await run(
                program("smtp-source"),
                *options,
                *("-s", "20", "-m", str(number), "-f", "a@example.com", "-t", "b@example.net"),
                f"inet:127.0.0.1:{edge.port}",
            )
            assert len(edge.messages) == number
            assert all(message.envelope.mail_from == "a@example.com" for message in edge.messages)
            assert {len(message.envelope.recipients) for message in edge.messages} == {5 if "-r" in options else 1}
            assert not any(name == "smtp_commands_refused_total" for name, *_ in edge.counts)
            if "-l" in options:
                assert all(len(message.content) >= 300_000 for message in edge.messages)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop) as runner:
        runner.run(send())


@pytest.mark.parametrize("version", ["1", "2"])
async def test_swaks_as_a_load_balancer(tmp_path: Path, version: str) -> None:
    listener = {"proxy_protocol": ["127.0.0.0/8"], "trusted": ["2001:db8::/32"]}
    async with LiveEdge(tmp_path, {"listener": listener}) as edge:
        family = "TCP6" if version == "1" else "AF_INET6"
        await run(
            program("swaks"),
            *("--server", "127.0.0.1", "--port", str(edge.port), "--helo", "client.test"),
            *("--proxy-version", version, "--proxy-family", family),
            *("--proxy-source", "2001:db8::7", "--proxy-source-port", "40000"),
            *("--proxy-dest", "2001:db8::1", "--proxy-dest-port", "25"),
            *("--from", "a@example.com", "--to", "b@example.net"),
        )
        [message] = edge.messages
        assert (message.client_ip, message.client_port) == ("2001:db8::7", 40000)


async def test_swaks_as_a_mail_proxy(tmp_path: Path) -> None:
    listener = {"xclient": ["127.0.0.0/8"], "trusted": [], "auth": "required"}
    async with LiveEdge(tmp_path, {"listener": listener}) as edge:
        await run(
            program("swaks"),
            *("--server", "127.0.0.1", "--port", str(edge.port), "--helo", "proxy.test"),
            *("--xclient-addr", "192.0.2.7", "--xclient-port", "40000", "--xclient-name", "client.test"),
            *("--xclient-helo", "client.test", "--xclient-proto", "ESMTP", "--xclient-login", "dora@example.com"),
            *("--from", "a@example.com", "--to", "b@example.net"),
        )
        [message] = edge.messages
        assert (message.client_ip, message.client_port, message.helo) == ("192.0.2.7", 40000, "client.test")
        assert (message.login, message.server, message.protocol) == ("dora@example.com", None, "ESMTPA")
