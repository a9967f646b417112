"""Who sent it: the identity rules of the configuration, applied to one submission. Nothing here does I/O.

The first rule that yields a sender wins; an address is the last resort, so there always is one. A header is believed
only from a customer's MTA that we know (its login matched `server_logins`, or its address is in the rule's `trusted`).
Such an MTA also carries mail of people who would like to be somebody else and write the same headers themselves. So the
Received field on top, which the MTA wrote, is asked how the message came in:

- with a login over SMTP: headers of scripts are not believed; if Received names the login, no header outranks it;
- from a program on the machine: headers about logins are not believed; the system user in Received outranks the rest;
- from elsewhere without a login (forwarded, say): no identity header is believed: a stranger may have written it;
- no such field, or one of an unknown kind: the rules go on in their order.

When two headers, or two fields of one name, tell of different senders, one of them is a lie and we cannot know which:
such mail is counted for a sender of its own, `server/disputed`, and harms neither of the two.

A header that a server has signed (signed.py) needs no such care: it is believed of anybody, whatever Received says.

What remains: a server that writes neither a Received field nor an identity header of its own lets its customers write
them, and on a plain Exim server (without cPanel's X-AntiAbuse) scripts are told apart by login, not by uid.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from outbound_guard.accounts import forms
from outbound_guard.accounts.evidence import COMPANIONS, Seen
from outbound_guard.accounts.forms import AUTHENTICATED, LOCAL, NETWORK, UNKNOWN, Received
from outbound_guard.accounts.rules import Rules, header_of
from outbound_guard.accounts.signed import Signed
from outbound_guard.config import Config, Identity, contains, networks
from outbound_guard.mail import Headers, Sender, Submission

_NOT_KNOWN = Received()


class Identifier:
    """The identity rules, made ready. One serves all submissions; of them it keeps which text a signature came with."""

    header_names: tuple[str, ...]
    """Identity headers to strip before relaying, in lower case; never Received."""

    def __init__(
        self,
        config: Config,
        account_of: Callable[[str], str | None],
        count: Callable[[str], None] = lambda word: None,
    ) -> None:
        """`account_of` gives the directory's account for a sender, an address or `server/uid`, or None.

        `count` is told what became of each signed header. Raises ConfigError for keys that cannot be used.
        """
        headers = {header_of(rule): rule.strip for rule in config.identity if header_of(rule)}
        self.header_names = tuple(name for name, strip in headers.items() if strip and name != "received")
        self._wanted = COMPANIONS | headers.keys()
        self._signed: list[Signed] = []

        def signed(rule: Identity) -> Signed:
            self._signed.append(Signed(config.resolve(rule.keys), rule.life, account_of, count))
            return self._signed[-1]

        self._make = Rules(account_of, signed)
        rules = [self._make.ready(rule) for rule in config.identity]
        self._rules = {
            way: tuple((rule.header, rule.apply) for rule in rules if way in rule.ways)
            for way in (AUTHENTICATED, LOCAL, NETWORK, UNKNOWN)
        }
        trusted = tuple(net for rule in config.identity for net in networks(rule.trusted))
        # Clients come again and again; parsing an address costs as much as all the rules.
        self._near = lru_cache(maxsize=10_000)(lambda address: contains(trusted, address))

    async def refresh(self) -> None:
        """Read the keys of signed headers again if their files have changed. Never raises."""
        for signed in self._signed:
            await signed.refresh()

    def identify(self, submission: Submission, headers: Headers) -> Sender:
        """The sender of a submission. Never raises on any content, always yields one."""
        fields: dict[str, list[str]] = {}
        received = _NOT_KNOWN
        if submission.server is not None or self._near(submission.client_ip):
            wanted = self._wanted
            for name, value in headers.fields:
                if name in wanted:
                    if len(value) > forms.LONGEST_VALUE:
                        value = value[: forms.LONGEST_VALUE] if name == "received" else ""
                    if name in fields:
                        fields[name].append(value)
                    else:
                        fields[name] = [value]
            if "received" in fields:
                received = forms.received(fields["received"][0])
        seen = Seen(submission, headers, fields, received)
        for header, apply in self._rules[received.how]:
            if not header or header in fields:
                sender = apply(seen)
                if sender is not None:
                    return sender
        return self._make.address(submission)

    def to_strip(self, headers: Headers) -> tuple[str, ...]:
        """Those of `header_names` that stand in this message and are not covered by a DKIM signature (RFC 6376 3.5)."""
        present = headers.names
        names = tuple([name for name in self.header_names if name in present])
        if names and "dkim-signature" in present:
            signed = {name for value in headers.all("dkim-signature") for name in _signed(value)}
            names = tuple(name for name in names if name not in signed)
        return names


def _signed(signature: str) -> set[str]:
    """The fields that a DKIM signature covers, in lower case."""
    for tag in signature.split(";"):
        name, _, value = tag.partition("=")
        if name.strip() == "h":
            return {field.strip().lower() for field in value.split(":")}
    return set()
