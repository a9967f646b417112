"""What people have told to control panels: stop a mailbox or an account there, or let it go; and what panels were told.

An order goes through the outbox like everything else that panels are told, so it is tried again until it has worked. It
asks nobody whether the subject is suspended here.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Sequence

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.config.panels import Panel
from outbound_guard.desk.accounts.whose import accounts_of
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import panel_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.panel_queries import Past
from outbound_guard.ledger.records import Audit, Notice
from outbound_guard.mail import new_id
from outbound_guard.notify.panels.carrier import for_server, server_of

WHATS = {"suspend": "suspended", "release": "resumed"}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one panel was told last about a sender or account."""

    panel: str
    mode: str
    stopped: bool
    """The last thing it did for us was to stop it."""
    last: Past | None


async def order(
    ledger: Ledger,
    journal: Journal,
    clock: Clock,
    config: Config,
    what: str,
    scope: str,
    subject: str,
    *,
    by: str,
    reason: str = "",
    names: Sequence[str] = (),
) -> list[str]:
    """Have panels stop a sender or account, or let it go (`what`: suspend | release); the names of those that are told.

    `names`: only these; else all that are for its account and server. Raises DeskError, LedgerError.
    """
    if what not in WHATS or scope not in ("sender", "account") or not subject:
        raise DeskError(f"{what} {scope} {subject!r} cannot be done")
    [account] = await accounts_of(ledger, clock, [(scope, subject)])
    panels = await for_order(ledger, config, scope, subject, account, names)
    if not panels:
        raise DeskError("no control panel is configured for it")
    now, kind = clock.now(), WHATS[what]
    notices = [
        Notice(
            key=f"panel:{panel.name}:{new_id(now)}",
            time=now,
            kind=kind,
            account=account,
            sender=subject if scope == "sender" else "",
            reason=reason,
            data={"scope": scope, "ordered": by},
            to=panel.name,
        )
        for panel in panels
    ]
    told = ", ".join(panel.name for panel in panels)
    audit = Audit(
        time=now, by=by, what=f"panel.{what}", subject=subject, detail=f"{told}: {reason}" if reason else told
    )
    on_disk(journal, *notices, audit)
    return [panel.name for panel in panels]


async def for_order(
    ledger: Ledger, config: Config, scope: str, subject: str, account: str, names: Sequence[str] = ()
) -> list[Panel]:
    """The panels that are told of a sender or account; `names`: only these. Raises DeskError, LedgerError.

    Whoever was told last to stop it is among them: its server may not be known any more.
    """
    panels = chosen(config, account, names)
    if names:
        return panels
    server = server_of(scope, subject) or await asyncio.to_thread(panel_queries.last_server, ledger, scope, subject)
    stopped = {one.panel for one in await asyncio.to_thread(told, ledger, config, scope, subject) if one.stopped}
    return [panel for panel in panels if panel.name in stopped or for_server(panel, server)]


def chosen(config: Config, account: str, names: Sequence[str] = ()) -> list[Panel]:
    """The panels that are told of an account; `names`: only these. Raises DeskError for one that there is not."""
    known = {panel.name: panel for panel in config.panel}
    for name in names:
        if name not in known:
            raise DeskError(f"there is no panel {name!r}{'; there are ' + ', '.join(known) if known else ''}")
        if known[name].mode == "off":
            raise DeskError(f"panel {name} is switched off (mode)")
    if names:
        return [known[name] for name in names]
    return [
        panel
        for panel in config.panel
        if panel.mode != "off"
        and (not panel.accounts or any(fnmatch.fnmatchcase(account.lower(), one.lower()) for one in panel.accounts))
    ]


def told(ledger: Ledger, config: Config, scope: str, subject: str) -> list[Told]:
    """What each panel was told of a sender or account; those that were told nothing are left out. Sync; LedgerError."""
    modes = {panel.name: panel.mode for panel in config.panel}
    rows = panel_queries.past(ledger, tuple(modes), scope, subject) if modes else []
    found = []
    for name, mode in modes.items():
        own = [row for row in rows if row.route == name]
        if own:
            done = next((row.kind for row in own if row.state == "sent"), "")
            found.append(Told(panel=name, mode=mode, stopped=done == "suspended", last=own[0]))
    return found
