"""What the identity fields of one submission say, taken together; rules.py decides which of it counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from outbound_guard.accounts import forms
from outbound_guard.accounts.forms import AUTHENTICATED, Received
from outbound_guard.mail import Headers, Submission, domain_of

_PEOPLE = 500
"""Uids from here on are people's (on old systems; on newer ones 1000); below are those of services."""
# Programs of all customers run as these where PHP is part of the web server: only PHP itself knows whose script it was.
_SHARED = frozenset({"nobody", "www-data", "www", "apache", "httpd", "nginx", "lighttpd", "wwwrun", "http", "root"})
_LOGIN_FORMS: dict[str, Callable[[str], tuple[str, str] | None]] = {
    "x-authenticated-sender": forms.authenticated_sender,
    "x-get-message-sender-via": forms.sender_via,
}
_AT_EACH_END = 10
"""Fields of one name that are read, of the first and of the last."""
COMPANIONS = frozenset({"received", "x-antiabuse", "x-php-script", "x-source-dir", "x-forwarded-for"})
"""Fields that are read beside those that the rules name."""


class Seen:
    """What the rules look at for one submission."""

    __slots__ = ("fields", "headers", "received", "server", "submission")

    def __init__(
        self, submission: Submission, headers: Headers, fields: dict[str, list[str]], received: Received
    ) -> None:
        """`fields` are the values of the identity headers by name, empty if nobody vouches for them."""
        self.submission = submission
        self.headers = headers
        self.fields = fields
        self.received = received
        self.server = server_name(submission.server) if submission.server is not None else ""


@lru_cache(maxsize=10_000)
def server_name(text: str) -> str:
    """A server's name as it stands in senders: safe, at most 100 characters; colons stay, they are IPv6's."""
    return re.sub(r"[^\w.:-]|[^\x20-\x7e]", "_", text)[:100] or "unknown"


def login_reader(header: str, pattern: str) -> Callable[[Seen], list[str]]:
    """A function that gives the logins in the fields called `header`, as far as they can be read."""
    if pattern:
        search = re.compile(pattern).search

        def by_pattern(seen: Seen) -> list[str]:
            matches = (search(value) for value in _ends(seen.fields[header]))
            return [name for match in matches if match and match[1] and (name := forms.mailbox_or_word(match[1]))]

        return by_pattern
    form = _LOGIN_FORMS.get(header)
    if form is None:
        return lambda seen: [name for value in _ends(seen.fields[header]) if (name := forms.auth_user(value))]

    def with_host(seen: Seen) -> list[str]:
        pairs = [pair for value in _ends(seen.fields[header]) if (pair := form(value))]
        if len(pairs) > 1 and any(host == seen.received.by for host, _ in pairs):
            # A message sent on keeps the field of the host that it first came from; that one is no lie, only old.
            pairs = [pair for pair in pairs if pair[0] == seen.received.by]
        return [name for _, name in pairs]

    return with_host


def _ends(values: list[str]) -> list[str]:
    """The first and the last of many: a server writes its own on top or at the end, whatever was there before."""
    return values if len(values) <= 2 * _AT_EACH_END else [*values[:_AT_EACH_END], *values[-_AT_EACH_END:]]


def script_of(header: str, value: str) -> tuple[int | None, str, str | None]:
    """(uid, site, file) of a script header; the file is None if it cannot be read."""
    if header == "x-php-originating-script":
        by_php = forms.php_originating_script(value)
        return (by_php[0], "", by_php[1]) if by_php else (None, "", None)
    if header == "x-source-args":
        return None, "", forms.source_args(value)
    pair = forms.php_script(value) if header == "x-php-script" else forms.source_dir(value)
    return (None, pair[0], pair[1]) if pair else (None, "", None)


def user_of(seen: Seen, said: int | None) -> str | None:
    """The system user behind a local program: `uid1012`, or a login. `said` is the uid that PHP wrote, if it did.

    PHP's header can be written by the script itself, so a uid or user in the topmost Received field goes before it,
    unless that user is one that the programs of all customers share.
    """
    received = seen.received
    if received.uid is not None:
        return f"uid{said}" if said is not None and received.uid < _PEOPLE else f"uid{received.uid}"
    if received.user is not None and received.user not in _SHARED:
        uids = {uid for value in seen.fields.get("x-antiabuse", ()) if (uid := forms.caller_uid(value)) is not None}
        if len(uids) == 1 and (said is None or said in uids) and min(uids) >= _PEOPLE:
            # cPanel's Exim writes the uid itself: the account has one name, whichever header tells of it.
            return f"uid{uids.pop()}"
        return received.user
    return f"uid{said}" if said is not None else received.user


def shared(user: str) -> bool:
    """True if programs of several customers run as this user."""
    return user in _SHARED or (user[:3] == "uid" and user[3:].isdecimal() and int(user[3:]) < _PEOPLE)


def where_of(seen: Seen, place: str, file: str) -> str:
    """Where a script lies, as fully as the server tells; for people to read, never for a decision."""
    if place:
        return f"{place}{file}"
    for value in seen.fields.get("x-php-script", ()):
        pair = forms.php_script(value)
        if pair and pair[1].endswith(f"/{file}"):
            return f"{pair[0]}{pair[1]}"
    for value in seen.fields.get("x-source-dir", ()):
        pair = forms.source_dir(value)
        if pair and not file.startswith("/"):
            return f"{pair[0]}:{pair[1]}/{file}"
    return file


def forwarding_address(seen: Seen, rewriter: str) -> str:
    """The address that forwards, if the server names just one in the domain that rewrote; else that domain."""
    named = {forms.forwarded_for(value) for value in seen.fields.get("x-forwarded-for", ())}
    address = named.pop() if len(named) == 1 else None
    return address if address is not None and domain_of(address) == rewriter else rewriter


def author_ip(seen: Seen) -> str | None:
    """The author's own client, known only where it logged in."""
    return seen.received.peer if seen.received.how == AUTHENTICATED else None
