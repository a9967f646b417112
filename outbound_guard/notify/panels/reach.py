"""The calls to a control panel: at an address that was looked at, with its token, in its time; or only written down."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from outbound_guard.config.panels import Panel
from outbound_guard.http import NotSent, Page, exchange
from outbound_guard.notify.panels import cpanel, directadmin, plesk
from outbound_guard.notify.panels.calls import Away, Call, Change, Subject, said
from outbound_guard.notify.reaching import Refused, Resolve, addresses_of

KINDS: dict[str, ModuleType] = {"cpanel": cpanel, "plesk": plesk, "directadmin": directadmin}


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How to speak to one panel. The token is read for each call, so that it can be changed."""

    panel: Panel
    token_file: Path
    tls: ssl.SSLContext
    resolve: Resolve


class Asking:
    """The calls of one act on one panel."""

    def __init__(self, reach: Reach, *, dry: bool) -> None:
        """`dry`: what would change something is written down and not sent."""
        self._reach, self._dry = reach, dry
        self._client = KINDS[reach.panel.kind]
        self.calls: list[str] = []
        """The calls that change something, as people read them, without secrets."""

    async def change(self, subject: Subject, *, stop: bool) -> Change:
        """Stop the outgoing mail of a subject, or let it go again. Raises Away, Denied, NotThere."""
        panel = self._reach.panel
        found: Change = await self._client.change(
            self.ask, subject, stop=stop, hold=panel.stop == "hold", limit=panel.limit
        )
        return found

    async def probe(self) -> None:
        """Ask the panel something harmless. Raises Away, Denied, NotThere."""
        await self.ask(self._client.PROBE)

    async def ask(self, call: Call) -> Any:
        """Make one call; its answer as the panel's module reads it. Raises Away, Denied, NotThere."""
        if call.changes:
            self.calls.append(self.described(call))
            if self._dry:
                return {}
        try:
            secret = await asyncio.to_thread(_secret, self._reach.token_file)
        except (OSError, ValueError) as error:
            raise Away(f"its token cannot be read: {getattr(error, 'strerror', None) or error}") from None
        page = await self._sent(call, secret)
        try:
            return self._client.read(page.status, page.kind, page.body)
        except Exception as error:
            # No panel gives a token back, but what stands in an error goes to logs and pages.
            if secret in str(error):
                raise type(error)(str(error).replace(secret, "***")) from None
            raise

    async def _sent(self, call: Call, secret: str) -> Page:
        panel = self._reach.panel
        url = panel.url.rstrip("/") + call.target
        kind, body = call.body()
        headers = self._client.headers(panel.user, secret, call) | ({"Content-Type": kind} if kind else {})
        try:
            addresses = await addresses_of(url, self._reach.resolve, private=panel.allow_private)
        except Refused as refused:
            raise Away(str(refused)) from None
        except OSError as error:
            raise Away(f"its host cannot be looked up: {said(error.strerror or error)}") from None
        problem = ""
        try:
            # All its addresses together have the time of one call.
            async with asyncio.timeout(panel.timeout):
                for address in addresses:
                    try:
                        return await exchange(
                            call.method, url, address, body, headers, tls=self._reach.tls, seconds=panel.timeout
                        )
                    except NotSent as error:
                        problem = str(error)
                        if not error.unreached:
                            break
        except TimeoutError:
            problem = f"no answer within {panel.timeout:g} s"
        raise Away(problem)

    def described(self, call: Call) -> str:
        """A call as people read it; secrets are `***`."""
        panel = self._reach.panel
        fields = self._client.headers(panel.user, "***", call)
        if panel.kind == "directadmin":
            fields = {"Authorization": f"Basic {panel.user}{'|' + call.behalf if call.behalf else ''}:***"}
        shown = "; ".join(f"{name}: {value}" for name, value in fields.items() if name != "Accept")
        body = call.body()[1].decode("utf-8", "replace")
        return f"{call.method} {panel.url.rstrip('/')}{call.target}{' ' + body if body else ''} [{shown}]"


def _secret(path: Path) -> str:
    """The first line of a file. Raises OSError, ValueError."""
    with path.open("rb") as file:
        first = (file.read(4096).splitlines() or [b""])[0].strip()
    if not first or not all(0x20 < octet < 0x7F for octet in first):
        raise ValueError(f"{path.name} has no token in its first line")
    return first.decode("ascii")
