"""The console's web server, in the console process: pages and API over the desk."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import signal
import socket
import ssl
from collections.abc import Iterator

import uvicorn

from outbound_guard.accounts import secret
from outbound_guard.app.certificates import keep_certificates
from outbound_guard.app.news import News
from outbound_guard.app.notices import resolver
from outbound_guard.app.parts import Parts
from outbound_guard.app.settling import settled
from outbound_guard.blocklist.watch import Watch
from outbound_guard.config import Config, ConfigError
from outbound_guard.console import Tools, application
from outbound_guard.desk.people.access import Access
from outbound_guard.desk.people.oidc.provider import Provider
from outbound_guard.desk.policy.backtests import Backtests
from outbound_guard.desk.queue.desk import QueueDesk
from outbound_guard.edge import Certificate
from outbound_guard.feedback import Intake
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.reputation import Reputation
from outbound_guard.state import State

_SETTLE = 3.0
"""Seconds that a page waits for the ledger to have what was just decided."""
_STOP = 3
"""Seconds that answers under way get when the process is told to stop."""
_TIDY = 60.0
_INVITE = 0.2
"""Seconds between two looks whether the ledger can say if there are users."""


class _Server(uvicorn.Server):
    """Leaves the signals to the process, which has other work to end as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve_console(
    parts: Parts, writer: Ledger, scribe: Scribe, watch: Watch | None = None, feedback: Intake | None = None
) -> None:
    """Serve pages and API in the background until the stack closes. `writer` is the scribe's ledger.

    `watch` asks the blocklists about our addresses, `feedback` takes reports in.

    Does nothing if the supervisor handed no socket on (`console.address` is empty). Raises ConfigError.
    """
    descriptor = parts.child.fds.get("console")
    if descriptor is None:
        return
    config = parts.config
    reader = Ledger(url_of(config.ledger.url, config.data_dir))
    parts.stack.callback(reader.close)
    state = await State.connect(parts.child.state_url, timeout=config.state.timeout, count=parts.metrics.count)
    parts.stack.push_async_callback(state.close)

    async def settle() -> None:
        await settled(parts, scribe, _SETTLE)

    def reload() -> bool:
        # The supervisor reads the configuration and has all processes read it, this one too.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if parts.child.parent > 1:
                os.kill(parts.child.parent, signal.SIGHUP)
                return True
        return False

    access = Access(
        reader,
        writer,
        parts.journal,
        parts.clock,
        config.console,
        settle,
        parts.metrics.count,
        provider=_provider(parts),
        key=hmac.digest(secret(config.data_dir), b"signing in to the console", "sha256"),
    )
    parts.stack.callback(access.close)
    backtests = Backtests(config, parts.clock, parts.journal)
    await asyncio.to_thread(backtests.interrupted)
    parts.stack.push_async_callback(backtests.close)
    queue = QueueDesk(parts.spool, parts.journal, parts.clock, config.delivery, parts.hostname)
    parts.stack.push_async_callback(queue.close)
    tools = Tools(
        config=config,
        clock=parts.clock,
        reader=reader,
        writer=writer,
        journal=parts.journal,
        spool=parts.spool,
        reputation=Reputation(state),
        metrics=parts.metrics,
        backtests=backtests,
        queue=queue,
        feedback=feedback,
        watch=watch,
        settle=settle,
        tell=News(state).tell,
        reload=reload,
    )
    listening = socket.socket(fileno=descriptor)
    parts.stack.callback(listening.close)
    settings = _settings(config, tools, access)
    if config.console.certificate:
        console = config.console
        certificate = Certificate(config.resolve(console.certificate), config.resolve(console.private_key), "console")
        settings.ssl = certificate.context
        keep_certificates(parts, [("console", certificate)])
    server = _Server(settings)
    serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))

    async def stop() -> None:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)

    parts.stack.push_async_callback(stop)

    invited = False

    async def invite() -> None:
        nonlocal invited
        if invited or not scribe.ready:
            return
        if path := await access.start():
            scheme = "https" if config.console.certificate else "http"
            name = await asyncio.to_thread(_own_name, listening)  # It may ask the DNS.
            print(f"no user yet: open {scheme}://{name}{path} to make the first one", flush=True)
        invited = True

    parts.every(_INVITE, invite)
    parts.every(_TIDY, access.tidy)


def _provider(parts: Parts) -> Provider | None:
    """Where people sign in besides, if anywhere. Raises ConfigError."""
    config, oidc = parts.config, parts.config.console.oidc
    if not oidc.issuer:
        return None
    try:
        tls = ssl.create_default_context(cafile=str(config.resolve(oidc.ca_file)) if oidc.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{config.path}: console.oidc.ca_file: {oidc.ca_file}: {error}") from error
    file = config.resolve(oidc.client_secret_file)
    back = f"{config.console.url.rstrip('/')}/sign-in/oidc/callback"
    return Provider(oidc, file, back, tls, resolver(config.dns.resolvers), parts.clock)


def _settings(config: Config, tools: Tools, access: Access) -> uvicorn.Config:
    console = config.console
    settings = uvicorn.Config(
        application(tools, access),
        log_config=None,
        access_log=False,
        server_header=False,
        log_level="warning",
        lifespan="on",
        ws="none",
        proxy_headers=bool(console.proxies),
        forwarded_allow_ips=list(console.proxies),
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_STOP,
        ssl_certfile=str(config.resolve(console.certificate)) if console.certificate else None,
        ssl_keyfile=str(config.resolve(console.private_key)) if console.private_key else None,
    )
    try:
        settings.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"console.certificate: {console.certificate}: {error}") from error
    return settings


def _own_name(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 -- compared, not bound.
        host = socket.getfqdn()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
