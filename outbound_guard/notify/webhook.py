"""The carrier by HTTP: webhooks and chats."""

from __future__ import annotations

import asyncio
import email.utils
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard.config.notices import NoticeRoute
from outbound_guard.http import NotSent, post
from outbound_guard.ledger import outbox_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.notify import forms
from outbound_guard.notify.letter import Answer, Letter
from outbound_guard.notify.reaching import Refused, Resolve, addresses_of
from outbound_guard.notify.signature import keys_of, signed

_NEVER = frozenset((400, 401, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431, 451, 501))
"""Answers that say that trying again is of no use."""
_TRIES = 5
"""Tries after which that is believed: receivers are mended, too."""
_LONGEST_FILE = 65_536


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how a route of the configuration sends. Files are read for each try, so that they can be changed."""

    settings: NoticeRoute
    host: str
    """Our own name."""
    organisation: str
    template: Path | None = None
    secret: Path | None = None
    authorization: Path | None = None


async def carry(place: Place, ledger: Ledger, tls: ssl.SSLContext, resolve: Resolve, letter: Letter) -> Answer:
    """Send one notice. A receiver that took it, and could not say so, gets it again with the same id."""
    settings, notice = place.settings, letter.notices[0]
    message: Mapping[str, Any] = {}
    if settings.details or settings.form == "mailchannels":
        whose = (notice.account, notice.sender)
        known = await asyncio.to_thread(outbox_queries.latest_kept, ledger, *whose, notice.last) if any(whose) else None
        message = known or {}
    try:
        kind, body = await asyncio.to_thread(_body, place, letter, notice, message)
        headers = {"Content-Type": kind} | await asyncio.to_thread(_headers, place, letter, body)
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error)
        return Answer(result="later", text=f"a file of the route cannot be used: {text}")
    try:
        addresses = await addresses_of(settings.url, resolve, private=settings.allow_private)
    except Refused as refused:
        return Answer(result="later", text=str(refused))
    except OSError as error:
        return Answer(result="later", text=f"its host cannot be looked up: {error.strerror or error}"[:200])
    return await _post(settings, addresses, tls, body, headers, letter)


async def _post(
    settings: NoticeRoute,
    addresses: list[str],
    tls: ssl.SSLContext,
    body: bytes,
    headers: dict[str, str],
    letter: Letter,
) -> Answer:
    problem = ""
    try:
        async with asyncio.timeout(settings.timeout):
            for address in addresses:
                try:
                    status, retry_after = await post(
                        settings.url, address, body, headers, tls=tls, seconds=settings.timeout
                    )
                    return _meaning(status, retry_after, letter.sendings[0].attempts + 1, letter.now)
                except NotSent as error:
                    problem = str(error)
                    if not error.unreached:
                        break
    except TimeoutError:
        problem = f"no answer within {settings.timeout:g} s"
    return Answer(result="later", text=problem)


def _meaning(status: int, retry_after: str, tries: int, now: float) -> Answer:
    text = f"answered {status}"
    if 200 <= status < 300:
        return Answer(result="sent", text=text)
    if 300 <= status < 400:
        text += ", a redirect, which is not followed"
    if (status in _NEVER or 300 <= status < 400) and tries >= _TRIES:
        return Answer(result="failed", text=text)
    return Answer(result="later", text=text, wait=_seconds(retry_after, now))


def _seconds(retry_after: str, now: float) -> float:
    """RFC 9110 10.2.3: seconds, or a date."""
    if re.fullmatch(r"[0-9]{1,9}", retry_after):
        return float(retry_after)
    try:
        at = email.utils.parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, IndexError):
        return 0.0
    return max(0.0, at.timestamp() - now)


def _body(place: Place, letter: Letter, notice: Told, message: Mapping[str, Any]) -> tuple[str, bytes]:
    settings = place.settings
    if settings.carrier == "chat":
        return forms.chat(notice, place.host, details=settings.details)
    if settings.form == "mailchannels" and notice.kind != "test":
        return forms.mailchannels(notice, place.organisation, message)
    if settings.form == "template" and place.template is not None:
        text = _read(place.template).decode("utf-8")
        json = place.template.suffix == ".json"
        return forms.template(text, json=json, id_=letter.id, notice=notice, message=message, details=settings.details)
    return forms.own(letter.id, notice, place.host, message, details=settings.details)


def _headers(place: Place, letter: Letter, body: bytes) -> dict[str, str]:
    keys = keys_of(_read(place.secret)) if place.secret else []
    if place.secret and not keys:
        raise ValueError(f"{place.secret.name} is empty")
    fields = signed(letter.id, letter.now, body, keys)
    if place.authorization:
        first = (_read(place.authorization).splitlines() or [b""])[0].strip()
        if not first or not all(0x20 <= octet < 0x7F for octet in first):
            raise ValueError(f"{place.authorization.name} has no value for a header field")
        fields["Authorization"] = first.decode("ascii")
    return fields


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST_FILE)
