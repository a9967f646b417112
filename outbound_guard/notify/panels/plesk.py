"""Plesk, by its REST API (`/api/v2/`, port 8443) with a secret key; through it the server's command line utilities.

Documented at docs.plesk.com: `POST /api/v2/cli/mail/call` and `.../site/call` with `{"params": [...]}`, answered by
`{"code": ..., "stdout": ..., "stderr": ...}`: an error of the utility has status 200 and another code than 0. A limit
of 0 messages an hour prohibits sending (outgoing mail control must be switched on). Plesk does not tell which limit was
set before, so in the end one of our configuration is set: `default` unless another is wanted.
"""

from __future__ import annotations

import re
from typing import Any

from outbound_guard.notify.panels.calls import (
    MAILBOX,
    USER,
    Ask,
    Call,
    Change,
    Denied,
    NotThere,
    Subject,
    json_object,
    refused_by_status,
    said,
)

PROBE = Call(path="/api/v2/server")
"""Needs nothing but a right key."""
_MISSING = re.compile(r"does not exist|doesn't exist|not found|unable to find", re.I)


def headers(user: str, secret: str, call: Call) -> dict[str, str]:
    """The field by which a secret key authenticates itself."""
    return {"X-API-Key": secret, "Accept": "application/json"}


def read(status: int, kind: str, body: bytes) -> dict[str, Any]:
    """The answer's object. Raises Away, Denied, NotThere for what is an error, whatever its status says."""
    refused_by_status(status, body)
    found = json_object(kind, body)
    code = found.get("code", 0)
    if str(code) != "0":
        words = said(found.get("stderr") or found.get("message") or found.get("stdout") or "no reason given")
        if _MISSING.search(words):
            raise NotThere(words)
        raise Denied(f"{words} (code {code})")
    return found


async def change(ask: Ask, subject: Subject, *, stop: bool, hold: bool, limit: str) -> Change:
    """Stop the outgoing mail of a mailbox or domain, or let it go again. Raises Away, Denied, NotThere."""
    if subject.kind == USER:
        raise NotThere("Plesk is told of mailboxes and domains, not of system users")
    utility, option = (
        ("mail", "-outgoing-messages-mbox-limit")
        if subject.kind == MAILBOX
        else ("site", "-outgoing-messages-domain-limit")
    )
    value = "0" if stop else limit
    params = ["--update", subject.name, option, value]
    await ask(Call(path=f"/api/v2/cli/{utility}/call", json={"params": params}, changes=True))
    return Change(True, f"{option} {value}: OK")
