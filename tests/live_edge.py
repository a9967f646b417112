"""A real edge on a port of 127.0.0.1, for tests: it records what it accepts and answers as the sender's name asks.

MAIL FROM `boom@...` makes `accept` raise, `cancelled@` raise CancelledError, `slow@` wait for `release`, `defer@`
answer 451 and `closing@` 421; everything else gets 250. `suspended@example.com` is not admitted as login or sender.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argon2
import bcrypt
import msgspec
import trustme

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config, Listener
from outbound_guard.edge import Edge, Guesses, Passwords, Room, Sessions, certificate_of, check
from outbound_guard.mail import Submission
from outbound_guard.reply import Reply, queued, suspended_login

LISTENER = {"address": "127.0.0.1:0", "trusted": ["127.0.0.0/8", "::1"]}


@functools.cache
def certificates() -> tuple[trustme.CA, trustme.LeafCert]:
    """A certification authority and a certificate for localhost."""
    authority = trustme.CA()
    return authority, authority.issue_cert("localhost", "127.0.0.1")


def client_tls() -> ssl.SSLContext:
    """A client's context that trusts our certificate."""
    context = ssl.create_default_context()
    certificates()[0].configure_trust(context)
    return context


@functools.cache
def password_lines() -> str:
    """Users and their hashes; the password is `secret` for all but `long`, who has 80 letters."""
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    lines = [f"{user}:{quick.hash('secret')}" for user in ("alice", "suspended@example.com", "relay-1")]
    lines.append(f"bob:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}")
    lines.append(f"long:{bcrypt.hashpw(b'x' * 72, bcrypt.gensalt(4)).decode()}")
    return "# users of the tests\n\n" + "\n".join(lines) + "\n"


class LiveEdge:
    """`async with LiveEdge(folder, {"listener": {...}, "limits": {...}}) as edge: ...`."""

    def __init__(self, folder: Path, settings: dict[str, Any] | None = None, host: str = "127.0.0.1") -> None:
        settings = settings or {}
        listener = {**LISTENER, "certificate": "tls.crt", "private_key": "tls.key", **settings.get("listener", {})}
        authority, certificate = certificates()
        certificate.private_key_pem.write_to_path(folder / "tls.key")
        (folder / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        authority.cert_pem.write_to_path(folder / "ca.crt")
        (folder / "passwords").write_text(password_lines())
        self.config = msgspec.convert(
            {
                "path": str(folder / "outbound-guard.toml"),
                "auth": {"passwords": "passwords", "server_logins": ["relay-*"], **settings.get("auth", {})},
                "limits": settings.get("limits", {}),
                "listener": [listener],
            },
            Config,
        )
        self.listener: Listener = self.config.listener[0]
        self.host = host
        self.clock = VirtualClock(1_700_000_000.0)
        self.sessions = Sessions(self.config.limits, Room(self.config.limits.memory, folder))
        self.messages: list[Submission] = []
        self.asked: list[str] = []
        self.counts: collections.Counter[tuple[str, ...]] = collections.Counter()
        self.release = asyncio.Event()
        self.accepting = asyncio.Event()
        self.loop_errors: list[dict[str, Any]] = []

    async def __aenter__(self) -> LiveEdge:
        check(self.listener, self.config)
        self.certificate = certificate_of(self.listener, self.config)
        guesses = Guesses(self.config.auth, b"key", self.clock)
        passwords = self.config.resolve(self.config.auth.passwords)
        self.passwords = Passwords(passwords, self.clock, guesses, self._count)
        self.edge = Edge(
            self.config,
            self.listener,
            hostname="guard.test",
            clock=self.clock,
            accept=self._accept,
            admit=self._admit,
            passwords=self.passwords,
            sessions=self.sessions,
            tls=self.certificate.context if self.certificate else None,
            count=self._count,
        )
        loop = asyncio.get_running_loop()
        # A fault in a callback would otherwise only be written to the log.
        loop.set_exception_handler(lambda _, context: self.loop_errors.append(context))
        self.server = await loop.create_server(self.edge.protocol, self.host, 0)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.server.close()
        self.release.set()
        await self.sessions.drain(0)
        await self.server.wait_closed()
        self.passwords.close()
        assert not self.loop_errors, self.loop_errors
        assert len(self.sessions) == 0

    async def _accept(self, submission: Submission) -> Reply:
        name = submission.envelope.mail_from.partition("@")[0]
        if name == "boom":
            raise RuntimeError("a secret of ours")
        if name == "cancelled":
            raise asyncio.CancelledError
        if name == "slow":
            self.accepting.set()
            await self.release.wait()
        self.messages.append(submission)
        if name == "defer":
            return Reply(451, "4.7.1", "later")
        if name == "closing":
            return Reply(421, "4.3.2", "going")
        return queued("ID")

    def _admit(self, subject: str) -> Reply | None:
        self.asked.append(subject)
        return suspended_login() if subject == "suspended@example.com" else None

    def _count(self, name: str, *labels: str) -> None:
        self.counts[(name, *labels)] += 1


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition holds; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - it watches the state of others, who signal nothing.
        await asyncio.sleep(0)


class Client:
    """A client that knows nothing of SMTP but how a reply ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(
        cls, edge: LiveEdge, *, version: ssl.TLSVersion | None = None, ciphers: str | None = None
    ) -> Client:
        """Connect, with TLS from the start if the listener is of that kind: of this version, with these ciphers."""
        tls = client_tls() if edge.listener.tls == "implicit" else None
        if tls and ciphers:
            tls.set_ciphers(ciphers)
        if tls and version:
            with warnings.catch_warnings(action="ignore"):  # Old versions are to be tried out.
                tls.minimum_version = tls.maximum_version = version
        name = "localhost" if tls else None
        return cls(*await asyncio.open_connection(edge.host, edge.port, ssl=tls, server_hostname=name))

    def send(self, octets: bytes) -> None:
        """Send as it is."""
        self.writer.write(octets)

    async def reply(self) -> str:
        """One reply, its lines divided by "\\n"; empty when the server has closed."""
        lines = []
        while True:
            try:
                line = await self.reader.readline()
            except ConnectionError:
                return ""
            if not line:
                return ""
            assert line.endswith(b"\r\n"), line
            lines.append(line[:-2].decode())
            if lines[-1][3:4] != "-":
                return "\n".join(lines)

    async def ask(self, octets: bytes) -> str:
        """Send and return the reply."""
        self.send(octets)
        return await self.reply()

    async def start_tls(self) -> None:
        """Shake hands."""
        await self.writer.start_tls(client_tls(), server_hostname="localhost")

    async def close(self) -> None:
        """Close; it does not matter whether the server has been quicker."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
