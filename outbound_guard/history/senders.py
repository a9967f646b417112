"""Who sent it, by the product's own identity rules: a log's origin becomes what the server would have written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.rules import header_of
from outbound_guard.config import Config
from outbound_guard.history import Origin
from outbound_guard.mail import Envelope, Headers, Sender, Submission

_MEMO = 50_000
_NAMELESS = "server-without-name"
_NO_LOGIN = frozenset({"", "received", "x-ppp-vhost", "x-php-originating-script", "x-php-script", "x-source-args"})


class Senders:
    """Finds the senders of one server's log."""

    def __init__(
        self,
        config: Config,
        account_of: Callable[[str], str | None],
        server: str,
        uids: Mapping[str, int],
        skipped: Counter[str],
    ) -> None:
        """`server`: its name among the senders (its login here, or its address); empty: not known, so only logins with
        a domain can be told apart. `uids` of system users, where their names are known by number (cPanel)."""
        self._identifier = Identifier(config, account_of)
        self._headers = [name for rule in config.identity if (name := header_of(rule)) not in _NO_LOGIN]
        self._server, self._uids, self._skipped = server, uids, skipped
        self._known: dict[tuple[str, str, int], Sender | None] = {}

    def find(self, origin: Origin) -> Sender | None:
        """The sender behind an origin; None, and counted, if it cannot be told."""
        # Who it is does not hang on the envelope sender, which is chosen message by message.
        key = (origin.login, origin.user, origin.uid)
        if key not in self._known:
            if len(self._known) >= _MEMO:
                self._known.clear()
            self._known[key] = self._find(origin)
        sender = self._known[key]
        if sender is None:
            self._skipped["of a sender that cannot be told (local ones need --server)"] += 1
        return sender

    def _find(self, origin: Origin) -> Sender | None:
        server = self._server or _NAMELESS
        content = "".join(f"{field}\r\n" for field in self._fields(origin, server)) + "\r\n"
        submission = Submission(
            "history", 0.0, Envelope("", ()), content.encode("utf-8", "replace"), "127.0.0.1", server=server
        )
        sender = self._identifier.identify(submission, Headers(submission.content))
        # What no rule reads out of login or user would be told by an envelope sender that is not there.
        if sender.source in ("mail_from", "client_ip") or sender.name.startswith(f"{_NAMELESS}/"):
            return None
        return sender

    def _fields(self, origin: Origin, server: str) -> list[str]:
        host = "history.invalid"
        if origin.login:
            ip = origin.client_ip or "127.0.0.1"
            literal = f"IPv6:{ip}" if ":" in ip else ip
            login = _clean(origin.login)
            return [
                f"Received: from client (client [{literal}]) (Authenticated sender: {login}) "
                f"by {host} (Postfix) with ESMTPSA id history",
                *(f"{name}: {_LOGIN_FIELDS.get(name, '{}').format(login)}" for name in dict.fromkeys(self._headers)),
            ]
        uid = origin.uid if origin.uid >= 0 else self._uids.get(origin.user, -1)
        if origin.user:
            caller = [f"X-AntiAbuse: Originator/Caller UID/GID - [{uid} {uid}] / [47 12]"] if uid >= 0 else []
            return [f"Received: from {_clean(origin.user)} by {host} with local (Exim 4)", *caller]
        return [f"Received: by {host} (Postfix, from userid {uid})"]


_LOGIN_FIELDS = {
    "x-authenticated-sender": "history.invalid: {}",
    "x-get-message-sender-via": "history.invalid: authenticated_id: {}",
}


def _clean(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() and letter not in " ()<>")
