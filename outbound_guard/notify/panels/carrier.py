"""A control panel as a route of the outbox: what a notice of a suspension, or of its end, means for it.

Trying again does no harm. Before each try the ledger is asked whether the suspension is still as the notice says, so
that a late "suspended" never comes after a "resumed"; the panel is asked, where it can say so, whether it was done
already; and its calls may be made twice. What a person at the panel had stopped before us stays stopped in the end:
only what we have stopped is let go.
"""

from __future__ import annotations

import asyncio
import fnmatch
import re
from collections.abc import Callable, Sequence

import msgspec

from outbound_guard.config.panels import Panel
from outbound_guard.ledger import outbox_queries, panel_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.ledger.panel_queries import LET_GO, STOPPED
from outbound_guard.ledger.records import Audit
from outbound_guard.notify.letter import Answer, Letter
from outbound_guard.notify.panels.calls import DOMAIN, MAILBOX, USER, Away, Denied, NotThere, Subject
from outbound_guard.notify.panels.reach import Asking, Reach

KINDS = frozenset(("suspended", "resumed"))
MOST = 20
"""Domains of one account that a panel is told of."""
TRIES = 5
"""Tries after which a panel that says no is believed."""
PROOF = 86400.0
"""Seconds before a suspension in which all mail of the sender must have been proven to be its own."""
_MAILBOX = re.compile(r"[^\s@/:]+@[^\s@/:]+")
_DOMAIN = re.compile(r"(?=.{4,253}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One panel, and what its carrier works with."""

    reach: Reach
    ledger: Ledger
    note: Callable[[Audit], None]
    """Takes an entry of the audit."""
    rest: dict[float, float] = msgspec.field(default_factory=dict)
    """Until when it is left alone (unix seconds) because it did not accept the token, by the time of the token's file:
    panels lock out addresses that try again and again."""


async def carry(place: Place, letter: Letter) -> Answer:
    """Tell a panel of one suspension, or of its end."""
    sending = letter.sendings[0]
    notice, panel = sending.notice, place.reach.panel
    stop = notice.kind == "suspended"
    ordered = str(notice.data.get("ordered", ""))
    # A letter has its id before it is tried: one that was never answered, since we were killed, was a try as well.
    first = sending.attempts == 0 and not sending.letter
    reason = await _wanted(place, letter, stop, ordered)
    if reason:
        return Answer(result="left_out", text=reason)
    if (left_alone := place.rest.get(_changed(place.reach), 0.0) - letter.now) > 0:
        return Answer(
            result="wait", text="the panel did not accept the token; it is left alone for a while", wait=left_alone
        )
    asking = Asking(place.reach, dry=panel.mode == "dry_run")
    try:
        text, ours = await _done(place, asking, notice, stop)
    except NotThere as error:
        return _noted(place, letter, asking, "panel.left_out", Answer(result="left_out", text=str(error)), first)
    except Denied as error:
        later = sending.attempts + 1 < TRIES
        answer = Answer(result="later" if later else "failed", text=str(error))
        return _noted(place, letter, asking, "panel.failed", answer, first or not later)
    except Away as error:
        if error.wait:
            place.rest.clear()
            place.rest[_changed(place.reach)] = letter.now + error.wait
        answer = Answer(result="later", text=str(error), wait=error.wait)
        return _noted(place, letter, asking, "panel.failed", answer, first)
    if panel.mode == "dry_run":
        text = f"dry run, nothing was changed: {'; '.join(asking.calls) or text}"
        return _noted(place, letter, asking, "panel.dry_run", Answer(result="left_out", text=text), True)
    if stop and first and not ours:
        # Somebody else has stopped it before. At a later try it may have been ours, whose answer was lost.
        return _noted(place, letter, asking, "panel.left_out", Answer(result="left_out", text=text), True)
    what = STOPPED if stop else LET_GO
    return _noted(place, letter, asking, what, Answer(result="sent", text=text), True)


async def _wanted(place: Place, letter: Letter, stop: bool, ordered: str) -> str:
    """Why a notice is not for this panel; empty: it is."""
    notice, panel, ledger = letter.notices[0], place.reach.panel, place.ledger
    scope, subject = subject_of(notice)
    if scope == "account" and not panel.whole_accounts:
        return "it is told of mailboxes only (whole_accounts)"
    own = server_of(scope, subject)
    if own and not for_server(panel, own):
        # The same user at another server is somebody else.
        return f"it is an account of the server {own}"
    if ordered:
        return ""
    if panel.mode == "ask" and stop:
        return "a person decides about it (mode = ask)"
    in_force = await asyncio.to_thread(panel_queries.suspended, ledger, scope, subject, letter.now)
    if in_force != stop:
        return "that has changed since"
    if not stop and panel.mode != "dry_run" and not await asyncio.to_thread(_ours, place, letter, scope, subject):
        return "it was not stopped there by us"
    if panel.servers and stop:
        server = await asyncio.to_thread(panel_queries.last_server, ledger, scope, subject)
        if not for_server(panel, server):
            return f"its mail came in by {server}" if server else "it is not known by which server its mail came in"
    if stop and scope == "sender" and notice.data.get("by") != "person":
        since = notice.time - PROOF
        if not await asyncio.to_thread(panel_queries.proven, ledger, subject, since, notice.time):
            return "its mail was not proven to be its own (anybody can write an envelope sender); a person may order it"
    return ""


def _ours(place: Place, letter: Letter, scope: str, subject: str) -> bool:
    """True if it may be that this panel has stopped the subject because we said so."""
    name = place.reach.panel.name
    rows = panel_queries.past(place.ledger, (name,), scope, subject, below=letter.sendings[0].serial)
    for row in rows:
        if row.state == "sent" or (row.state in ("waiting", "failed") and (row.attempts or row.letter)):
            return row.kind == "suspended"
        if row.kind == "suspended" and row.state == "left_out" and row.attempts > 1:
            # It was tried, and the suspension was over before the panel had answered for sure.
            return True
    # The outbox forgets; the audit does so later, or never.
    return panel_queries.stopped_by_audit(place.ledger, name, subject)


async def _done(place: Place, asking: Asking, notice: Told, stop: bool) -> tuple[str, bool]:
    """What the panel answered, and whether anything was changed. Raises Away, Denied, NotThere."""
    scope, subject = subject_of(notice)
    patterns: Sequence[str] = ()
    if scope == "account" and not _DOMAIN.fullmatch(subject) and "/" not in subject:
        patterns = await asyncio.to_thread(outbox_queries.patterns, place.ledger, subject)
    texts, changed, missing = [], False, []
    subjects = subjects_of(scope, subject, patterns)
    for one in subjects:
        try:
            change = await asking.change(one, stop=stop)
        except NotThere as error:
            missing.append(str(error))
            continue
        texts.append(f"{one.name}: {change.text}" if len(subjects) > 1 else change.text)
        changed = changed or change.done
    if not texts:
        raise NotThere("; ".join(missing)[:300])
    return "; ".join(texts), changed


def _changed(reach: Reach) -> float:
    try:
        return reach.token_file.stat().st_mtime
    except OSError:
        return 0.0


def server_of(scope: str, subject: str) -> str:
    """The server in an account's name (`server/user`); empty: there is none."""
    return subject.rpartition("/")[0] if scope == "account" else ""


def for_server(panel: Panel, server: str) -> bool:
    """True if a panel is told of what comes from a server of this name; empty: it is not known which."""
    return not panel.servers or any(fnmatch.fnmatchcase(server, pattern) for pattern in panel.servers)


def subject_of(notice: Told) -> tuple[str, str]:
    """Scope (sender | account) and name of whom a notice is about."""
    return ("sender", notice.sender) if notice.sender else ("account", notice.account)


def subjects_of(scope: str, name: str, patterns: Sequence[str]) -> list[Subject]:
    """Whom a panel is to stop for a sender or account of ours; `patterns` are the account's in the directory.

    Raises NotThere for what a panel cannot stop without stopping its neighbours.
    """
    if scope == "sender":
        if _MAILBOX.fullmatch(name):
            return [Subject(MAILBOX, name)]
        raise NotThere("a panel can stop a mailbox or an account, not a single script or program")
    if _DOMAIN.fullmatch(name):
        return [Subject(DOMAIN, name)]
    user = name.rpartition("/")[2] if "/" in name else ""
    if _USER.fullmatch(user):
        return [Subject(USER, user)]
    domains = sorted({pattern[2:].lower() for pattern in patterns if pattern.startswith("*@")})
    found = [Subject(DOMAIN, domain) for domain in domains if _DOMAIN.fullmatch(domain)]
    if not found:
        raise NotThere("the directory names no domain (*@DOMAIN) of this account")
    if len(found) > MOST:
        raise NotThere(f"the account has {len(found)} domains; a panel is told of {MOST} at most")
    return found


def _noted(place: Place, letter: Letter, asking: Asking, what: str, answer: Answer, write: bool) -> Answer:
    """The answer, which the audit has too, with the calls that were made."""
    if write:
        notice, panel = letter.notices[0], place.reach.panel
        calls = "; ".join(asking.calls)
        detail = f"{panel.name}: {calls + ' -> ' if calls and answer.text.find(calls) < 0 else ''}{answer.text}"
        by = str(notice.data.get("ordered", "")) or "system"
        place.note(Audit(time=letter.now, by=by, what=what, subject=subject_of(notice)[1], detail=detail[:1000]))
    return answer
