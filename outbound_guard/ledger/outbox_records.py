"""What is recorded of notices; part of `records`.

A notice is a row in the ledger's outbox. It comes there in the same transaction as what it tells of: most are made from
the records themselves (`outbox_storing`: standings, decisions, events of cases); what nothing else records is journaled
as a `Notice` beside its fact, in one `journal.write(...)`. Nobody calls `notify`: it finds the row.

To add a kind: its word and sentence in KINDS, and either a few lines in `outbox_storing` that make it from a record, or
a `Notice` where it happens, with a `key` made from the fact itself so that the same fact is told once. Add the word to
`config.notices.KINDS` too, so that people can choose it. Who is told, and by which carrier, says the configuration
(`[[notice]]`), unless the notice names one route itself (`to`). A new carrier is a function in `notify` and its line in
`app/notices.py`; the text for people stands in `notify/texts`.
"""

from __future__ import annotations

from typing import Any

import msgspec

KINDS: dict[str, str] = {
    "suspended": "a sender or account was suspended",
    "resumed": "a sender or account was resumed",
    "held": "mail of a sender is held",
    "quarantined": "mail of a sender went to quarantine",
    "customer_released": "a customer released held mail",
    "customer_reported": "a customer said that held mail was not theirs",
    "case_opened": "a case about one of our addresses was opened, or opened again",
    "case_step": "a case needs a step of a person",
    "case_closed": "a case was closed",
    "address_listed": "a blocklist lists one of our addresses or domains",
    "address_clean": "a blocklist no longer lists one of our addresses or domains",
    "backlog": "mail waits in the queue for longer than it should",
    "test": "somebody tries whether notices arrive",
}
"""What notices are about: the word, and what it means. What weighs most stands first."""


class Notice(msgspec.Struct, frozen=True, omit_defaults=True, tag="notice"):
    """Something that somebody is to be told."""

    key: str
    """Made from the fact itself, at most 200 characters; a second record with the same key only counts."""
    time: float
    kind: str
    """One of KINDS."""
    account: str = ""
    """The account concerned; its contact is who is told where the configuration says `to = "customer"`."""
    sender: str = ""
    subject: str = ""
    """What it is about beside them: the id of a message or case, an address or domain of ours."""
    reason: str = ""
    """Why, in one sentence, as the desk sees it."""
    data: dict[str, Any] = {}
    """Numbers and words that belong to the kind. No addresses of recipients, no content."""
    to: str = ""
    """The one route it is for; empty: all that the configuration names for its kind."""
    due: float = 0.0
    """Unix seconds before which it is not sent."""


class NoticeAct(msgspec.Struct, frozen=True, omit_defaults=True, tag="notice_act"):
    """Somebody decided about what is to be sent."""

    time: float
    what: str
    """retry (now, with all its tries anew) | give_up"""
    ids: tuple[int, ...]
    """The `serial` of rows of `outbox_sending`."""
    by: str = "system"
