"""cPanel & WHM, by WHM API 1 (`/json-api/`, port 2087) with an API token; UAPI functions of a mailbox through it.

Documented at api.docs.cpanel.net: suspend_outgoing_email, unsuspend_outgoing_email, hold_outgoing_email,
release_outgoing_email, accountsummary, getdomainowner, listaccts, uapi_cpanel; UAPI Email: suspend_outgoing,
unsuspend_outgoing, hold_outgoing, release_outgoing, list_pops_with_disk. All are GET. An error of WHM has status 200
and `metadata.result` 0 with its `reason`; one of UAPI below has `status` 0 and its `errors`.
"""

from __future__ import annotations

import re
from typing import Any

from outbound_guard.notify.panels.calls import (
    MAILBOX,
    USER,
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

PROBE = Call(path="/json-api/version", query={"api.version": "1"})
"""Needs nothing but a right token."""
_MISSING = re.compile(
    r"does not exist|do(?:es)? not own|no such|not? (?:be )?found|unknown (?:user|domain)|invalid user", re.I
)
_DENIED = re.compile(r"permission|access denied|not authori[sz]ed|token", re.I)
_WORDS = {
    # stop, hold -> (function of WHM, function of UAPI, field of accountsummary, field of list_pops_with_disk)
    "suspend": ("suspend_outgoing_email", "suspend_outgoing", "outgoing_mail_suspended", "suspended_outgoing"),
    "unsuspend": ("unsuspend_outgoing_email", "unsuspend_outgoing", "outgoing_mail_suspended", "suspended_outgoing"),
    "hold": ("hold_outgoing_email", "hold_outgoing", "outgoing_mail_hold", "hold_outgoing"),
    "release": ("release_outgoing_email", "release_outgoing", "outgoing_mail_hold", "hold_outgoing"),
}


def headers(user: str, secret: str, call: Call) -> dict[str, str]:
    """The fields by which a token authenticates itself."""
    return {"Authorization": f"whm {user}:{secret}"}


def read(status: int, kind: str, body: bytes) -> dict[str, Any]:
    """The answer's object. Raises Away, Denied, NotThere for what is an error, whatever its status says."""
    if status in (401, 403) or not 200 <= status < 300:
        refused_by_status(status, body)
    found = json_object(kind, body)
    metadata = found.get("metadata")
    if not isinstance(metadata, dict) or "result" not in metadata:
        # Older and special errors: {"cpanelresult": {"error": ...}}, {"error": ...}.
        inner = found.get("cpanelresult")
        error = (inner if isinstance(inner, dict) else found).get("error")
        raise Away(f"answered without a result: {said(error or 'no metadata')}")
    if str(metadata["result"]) != "1":
        _raise(said(metadata.get("reason") or "no reason given"))
    data = found.get("data")
    uapi = data.get("uapi") if isinstance(data, dict) else None
    if isinstance(uapi, dict) and str(uapi.get("status")) != "1":
        errors = uapi.get("errors")
        _raise(said("; ".join(map(str, errors)) if isinstance(errors, list) else errors or "no reason given"))
    return found


def _raise(reason: str) -> None:
    if _MISSING.search(reason):
        raise NotThere(reason)
    if _DENIED.search(reason):
        raise Away(f"the token may not do this: {reason}", 1800.0)
    raise Denied(reason)


async def change(ask: Ask, subject: Subject, *, stop: bool, hold: bool, limit: str) -> Change:
    """Stop the outgoing mail of a mailbox or account, or let it go again. Raises Away, Denied, NotThere."""
    word = ("hold" if hold else "suspend") if stop else ("release" if hold else "unsuspend")
    whm, uapi, of_account, of_mailbox = _WORDS[word]
    user = await _user(ask, subject)
    if subject.kind == MAILBOX:
        listing = await ask(
            _uapi(user, "list_pops_with_disk", domain=subject.name.rpartition("@")[2], get_restrictions="1")
        )
        now = _mailbox(listing, subject.name).get(of_mailbox)
        call = _uapi(user, uapi, changes=True, email=subject.name)
    else:
        summary = await ask(Call(path="/json-api/accountsummary", query={"api.version": "1", "user": user}))
        now = _account(summary, user).get(of_account)
        call = Call(path=f"/json-api/{whm}", query={"api.version": "1", "user": user}, changes=True)
    # Not all versions say it; then the call is made, which does no harm a second time.
    if now is not None and bool(int(now)) == stop:
        return Change(False, f"was so already ({of_account if subject.kind != MAILBOX else of_mailbox} = {now})")
    await ask(call)
    return Change(True, f"{word}: OK")


async def _user(ask: Ask, subject: Subject) -> str:
    """The cPanel user who owns it."""
    if subject.kind == USER:
        uid = re.fullmatch(r"uid([0-9]{1,10})", subject.name)
        if uid is None:
            return subject.name
        listed = await ask(Call(path="/json-api/listaccts", query={"api.version": "1", "want": "user,uid"}))
        accounts = _data(listed).get("acct")
        for account in accounts if isinstance(accounts, list) else ():
            if isinstance(account, dict) and str(account.get("uid")) == uid[1]:
                return str(account["user"])
        raise NotThere(f"no account has the uid {uid[1]}")
    domain = subject.name.rpartition("@")[2]
    owner = await ask(Call(path="/json-api/getdomainowner", query={"api.version": "1", "domain": domain}))
    user = _data(owner).get("user")
    if not user or not isinstance(user, str):
        raise NotThere(f"it has no domain {domain}")
    if user in ("root", "nobody", "system"):
        raise NotThere(f"{domain} belongs to {user}")
    return user


def _uapi(user: str, function: str, *, changes: bool = False, **fields: str) -> Call:
    query = {"api.version": "1", "cpanel.user": user, "cpanel.module": "Email", "cpanel.function": function, **fields}
    return Call(path="/json-api/uapi_cpanel", query=query, changes=changes)


def _data(answer: dict[str, Any]) -> dict[str, Any]:
    data = answer.get("data")
    return data if isinstance(data, dict) else {}


def _mailbox(answer: dict[str, Any], address: str) -> dict[str, Any]:
    uapi = _data(answer).get("uapi")
    rows = uapi.get("data") if isinstance(uapi, dict) else None
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and str(row.get("email", "")).lower() == address.lower():
            return row
    raise NotThere(f"it has no mailbox {address}")


def _account(answer: dict[str, Any], user: str) -> dict[str, Any]:
    rows = _data(answer).get("acct")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("user", user) == user:
            return row
    raise NotThere(f"it has no account {user}")
