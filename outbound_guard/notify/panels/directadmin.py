"""DirectAdmin, by its legacy API (`/CMD_API_...`, port 2222) with a login key.

CMD_API_DOMAIN_OWNERS tells whose a domain is, CMD_API_POP (`action=full_list`) whether a mailbox is suspended. It is
suspended as public clients of this API do it: CMD_API_POP with `action=delete` and `suspend`. A server that does not
know the second word would do the first. So nothing is sent unless its list says of this very mailbox whether it is
suspended: a server that tells this knows how to. A suspended mailbox can neither send nor be read, and still receives.
Answers are URL-encoded; an error has status 200 and `error=1` with `text` and `details`.
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import parse_qsl

from outbound_guard.notify.panels.calls import (
    LOCKED_OUT,
    MAILBOX,
    Ask,
    Away,
    Call,
    Change,
    Denied,
    NotThere,
    Subject,
    json_object,
    refused_by_status,
    said,
)

PROBE = Call(path="/CMD_API_DOMAIN_OWNERS", query={"domain": "example.com"})
"""Needs nothing but a right key that may use it."""
_MISSING = re.compile(r"does not exist|doesn't exist|no such|not found|does not belong|cannot find", re.I)
_DENIED = re.compile(r"not (?:logged in|allowed|authori[sz]ed)|access denied|permission|invalid login|login", re.I)


def headers(user: str, secret: str, call: Call) -> dict[str, str]:
    """The field by which a login key authenticates itself, for a user of the server if `behalf` names one."""
    who = f"{user}|{call.behalf}" if call.behalf else user
    return {"Authorization": "Basic " + base64.b64encode(f"{who}:{secret}".encode()).decode("ascii")}


def read(status: int, kind: str, body: bytes) -> dict[str, Any]:
    """The answer's fields. Raises Away, Denied, NotThere for what is an error, whatever its status says."""
    refused_by_status(status, body)
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        found = json_object(kind, body)
    elif text.startswith("<"):
        # Whoever is not logged in gets the page to log in, with status 200.
        raise Away(
            f"answered with a page for people: {said(text[:2000], 80)}", LOCKED_OUT if "login" in text.lower() else 0
        )
    else:
        found = dict(parse_qsl(text, keep_blank_values=True))
        if text and not found:
            raise Away(f"answered with something else than documented: {said(text, 80)}")
    if str(found.get("error", "0")) not in ("0", ""):
        words = said(f"{found.get('text', '')}: {found.get('details', '')}".strip(": ") or "no reason given")
        if _MISSING.search(words):
            raise NotThere(words)
        if _DENIED.search(words):
            raise Away(f"the key may not do this: {words}", LOCKED_OUT)
        raise Denied(words)
    return found


async def change(ask: Ask, subject: Subject, *, stop: bool, hold: bool, limit: str) -> Change:
    """Suspend a mailbox, or take that back. Raises Away, Denied, NotThere."""
    if subject.kind != MAILBOX:
        raise NotThere("DirectAdmin is told of mailboxes only")
    local, _, domain = subject.name.rpartition("@")
    owners = await ask(Call(path="/CMD_API_DOMAIN_OWNERS", query={"domain": domain}))
    owner = owners.get(domain)
    if not owner:
        raise NotThere(f"it has no domain {domain}")
    query = {"action": "full_list", "domain": domain}
    listed = await ask(Call(path="/CMD_API_POP", query=query, behalf=str(owner)))
    if local not in listed:
        raise NotThere(f"it has no mailbox {subject.name}")
    mailbox = listed[local]
    if not isinstance(mailbox, dict):
        mailbox = dict(parse_qsl(str(mailbox), keep_blank_values=True))
    now = str(mailbox.get("suspended", "")).lower()
    if now not in ("yes", "no"):
        raise Denied("it does not say whether a mailbox is suspended, so it may not know how to: nothing was sent")
    if (now == "yes") == stop:
        return Change(False, f"was so already (suspended = {now})")
    word = "suspend" if stop else "unsuspend"
    form = {"action": "delete", word: word.capitalize(), "domain": domain, "user": local}
    await ask(Call(path="/CMD_API_POP", form=form, changes=True, behalf=str(owner)))
    return Change(True, f"{word}: OK")
