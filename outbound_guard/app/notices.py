"""Notices in the console process: the routes of the configuration, and the one that works the outbox off."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from itertools import chain

from outbound_guard.app.panels import panel_routes
from outbound_guard.app.parts import Parts
from outbound_guard.config import ConfigError
from outbound_guard.config.notices import NoticeRoute
from outbound_guard.desk.redaction.redact import redact
from outbound_guard.dns import NoAnswer, Questions
from outbound_guard.ledger import outbox_queries
from outbound_guard.ledger.database import Ledger, LedgerError, url_of
from outbound_guard.ledger.outbox_records import KINDS
from outbound_guard.ledger.records import Notice
from outbound_guard.notify import mail, webhook
from outbound_guard.notify.letter import Carrier
from outbound_guard.notify.reaching import Resolve
from outbound_guard.notify.routes import Route, route_of
from outbound_guard.notify.sender import Sender
from outbound_guard.notify.writing import Frame

SECONDS = 1.0
"""Between two looks at the outbox."""
_MEASURE = 5.0
_QUEUE = 60.0
"""Seconds between two looks at the length of the queue."""

_log = logging.getLogger(__name__)


def send_notices(
    parts: Parts,
    ledger: Ledger,
    leads: Callable[[], bool],
    *,
    link: mail.Link = mail.no_link,
) -> Sender:
    """Send notices in the background until the parts are closed. `ledger` is the writer's.

    `leads`: it can be used, and among the hosts that share it this is the one that sends; asked before each letter.
    `link` makes the address of the customers' page for a letter. Raises ConfigError.
    """
    reader = Ledger(url_of(parts.config.ledger.url, parts.config.data_dir))
    parts.stack.callback(reader.close)
    ways = routes(parts, reader, link)

    def count(route: str, result: str, number: int) -> None:
        parts.metrics.count("notices_total", route, result, by=number)

    sender = Sender(ledger, reader, ways, parts.clock, parts.config.notices, may_i=leads, count=count)
    parts.stack.push_async_callback(sender.close)

    async def once() -> None:
        try:
            await sender.once()
        except LedgerError as error:
            _log.error("notices wait: %s", error)

    async def measure() -> None:
        now = parts.clock.now()
        waiting = outbox_queries.Waiting({}, 0.0)
        if leads():
            try:
                waiting = await asyncio.to_thread(outbox_queries.waiting, reader, now)
            except LedgerError:
                return  # That the ledger cannot be asked is said elsewhere.
        # Of a host that leads no longer they are 0: another tells them.
        for route in ways:
            parts.metrics.gauge("notices_waiting", waiting.routes.get(route.name, 0), route.name)
        parts.metrics.gauge("notices_oldest_age", max(0.0, now - waiting.oldest) if waiting.oldest else 0.0)

    async def look_at_queue() -> None:
        most, now = parts.config.notices.backlog, parts.clock.now()
        queued = (await parts.spool.counts())["queue"]
        if most and queued >= most:
            # The key makes it one a day.
            parts.journal.append(
                Notice(
                    key=f"backlog:{parts.hostname}:{int(now // 86_400)}",
                    time=now,
                    kind="backlog",
                    subject=parts.hostname,
                    reason=f"{queued} messages are in the queue",
                    data={"messages": queued},
                )
            )

    parts.every(SECONDS, once)
    parts.every(_MEASURE, measure)
    parts.every(_QUEUE, look_at_queue)
    return sender


def routes(parts: Parts, reader: Ledger, link: mail.Link) -> list[Route]:
    """All ways by which somebody is told. Raises ConfigError."""
    resolve = resolver(parts.config.dns.resolvers)
    found = []
    for number, settings in enumerate(parts.config.notice):
        if settings.carrier in ("webhook", "chat"):
            carry = _by_http(parts, reader, settings, resolve, f"notice[{number}]")
        else:
            carry = _by_mail(parts, reader, settings, link)
        found.append(route_of(parts.config, settings, carry, tuple(KINDS)))
    return found + panel_routes(parts, reader, resolve)


def _by_http(parts: Parts, reader: Ledger, settings: NoticeRoute, resolve: Resolve, where: str) -> Carrier:
    config = parts.config
    try:
        tls = ssl.create_default_context(cafile=str(config.resolve(settings.ca_file)) if settings.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{config.path}: {where}.ca_file: {settings.ca_file}: {error}") from error
    place = webhook.Place(
        settings=settings,
        host=parts.hostname,
        organisation=config.cases.organisation or parts.hostname,
        template=config.resolve(settings.template) if settings.template else None,
        secret=config.resolve(settings.secret_file) if settings.secret_file else None,
        authorization=config.resolve(settings.authorization_file) if settings.authorization_file else None,
    )
    return functools.partial(webhook.carry, place, reader, tls, resolve)


def _by_mail(parts: Parts, reader: Ledger, settings: NoticeRoute, link: mail.Link) -> Carrier:
    config, desk = parts.config, parts.config.notices.desk or parts.config.cases.contact
    frame = Frame(
        hostname=parts.hostname,
        organisation=config.cases.organisation or parts.hostname,
        from_address=config.notices.address or f"postmaster@{parts.hostname}",
        reply_to="" if settings.to == "desk" else desk,
        language=settings.language or config.notices.language,
        html=settings.html,
        details=settings.details,
        customer=settings.to == "customer",
    )
    post = mail.Post(
        settings=settings, frame=frame, spool=parts.spool, ledger=reader, desk=desk, link=link, redact=redact
    )
    return functools.partial(mail.carry, post)


def resolver(resolvers: Sequence[str]) -> Resolve:
    """Looks hosts up at these name servers (ADDRESS:PORT), or else as the system does. Nothing is kept."""
    questions = Questions(resolvers, lifetime=5.0)

    async def by_dns(host: str) -> Sequence[str]:
        try:
            return list(chain(await questions.ask(host, "A"), await questions.ask(host, "AAAA")))
        except NoAnswer as error:
            raise OSError(str(error)) from error

    async def by_system(host: str) -> Sequence[str]:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return sorted({str(place[0]) for *_, place in found}, key=lambda address: (":" in address, address))

    return by_dns if resolvers else by_system
