"""Where it may come from: the accounts that sent in the window, and what speaks against each."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from outbound_guard.config import Config
from outbound_guard.desk.cases.following import meant
from outbound_guard.desk.cases.stages import DAY, HOUR
from outbound_guard.desk.cases.words import day, said
from outbound_guard.ledger import case_evidence
from outbound_guard.ledger.case_queries import Case
from outbound_guard.ledger.database import Ledger
from outbound_guard.mail import Signal

BEFORE = DAY
"""The window begins so many seconds before the first sign: lists see abuse before they list it."""
SHOWN = 10
"""Accounts and campaigns that are named."""
_SCORE = 3.0
"""Nats from which on a message is looked at more closely."""

_TRAP = re.compile(r"spam.?trap|honey.?pot|trap address|\btraps?\b", re.I)
_COMPLAINT = re.compile(r"complain|feedback loop|reported (?:as|by)|user reports", re.I)
_MALWARE = re.compile(r"malware|virus|trojan|executable|botnet|infect", re.I)
_signals: msgspec.json.Decoder[tuple[Signal, ...]] = msgspec.json.Decoder(tuple[Signal, ...])


class Suspect(msgspec.Struct, kw_only=True):
    """An account that sent in the window, with what speaks against it."""

    account: str
    messages: int = 0
    stopped: int = 0
    """Held, in quarantine or refused."""
    senders: int = 0
    score: float = 0.0
    """Highest."""
    abuse: int = 0
    """Answers that name abuse."""
    our_address: int = 0
    """Answers that refuse our address."""
    unknown: int = 0
    """Answers that there is no such mailbox."""
    traps: int = 0
    complaints: int = 0
    scripts: int = 0
    malware: int = 0
    networks: int = 0
    """Messages from networks new to the login: a stolen password, or a VPN."""
    suspended: float = 0.0
    """Unix time of a suspension in the window."""

    @property
    def weight(self) -> float:
        """How strongly it is suspected; the order of the list, not a probability."""
        return (
            10.0 * bool(self.suspended)
            + 5.0 * (self.traps + self.complaints + self.malware)
            + 2.0 * self.abuse
            + self.stopped
            + self.our_address
            + self.scripts
            + 0.2 * (self.unknown + self.networks)
            + max(0.0, self.score)
        )


class Window(msgspec.Struct, kw_only=True):
    """What went out in the window of a case."""

    since: float
    until: float
    suspects: list[Suspect]
    """Most suspect first."""
    campaigns: list[tuple[str, int, int]]
    """Of the messages with a high score: subject, messages, accounts."""
    changes: list[dict[str, Any]]
    """What happened to standings."""
    traps: list[str]
    """Answers that hint at a spam trap."""


def key(case: Case, config: Config) -> tuple[float, tuple[str, ...]]:
    """What makes the window of a case: when it begins (to the hour), and the next hops that count."""
    return (case.began - BEFORE) // HOUR * HOUR, _peers(case, config)


def window(case: Case, ledger: Ledger, config: Config, now: float) -> Window:
    """Everything of the time from a day before the first sign. Raises LedgerError."""
    (since, peers), until = key(case, config), now
    suspects: dict[str, Suspect] = {}

    def of(account: str) -> Suspect:
        return suspects.setdefault(account, Suspect(account=account))

    for row in case_evidence.sent(ledger, since, until):
        suspect = of(row["account"])
        suspect.messages += row["messages"]
        suspect.senders = max(suspect.senders, row["senders"])
        suspect.stopped += row["messages"] if row["action"] not in ("relay", "defer") else 0
        suspect.score = max(suspect.score, row["score"])
    traps = []
    for row in case_evidence.refused(ledger, since, until, peers):
        suspect, text = of(row["account"]), row["text"]
        reply, meaning, against_us = meant(row)
        suspect.our_address += against_us
        suspect.abuse += meaning.abuse != "no" and not against_us
        suspect.unknown += meaning.coarse == "unknown_user"
        suspect.complaints += bool(_COMPLAINT.search(text))
        if _TRAP.search(text):
            suspect.traps += 1
            traps.append(f"{row['account']}: {said(str(reply))}")
    campaigns: Counter[str] = Counter()
    senders: dict[str, set[str]] = {}
    for row in case_evidence.suspicious(ledger, since, until, _SCORE):
        suspect = of(row["account"])
        campaigns[row["subject"]] += 1
        senders.setdefault(row["subject"], set()).add(row["account"])
        suspect.scripts += row["sender_kind"] == "script"
        for signal in _signals.decode(row["signals"]):
            suspect.malware += signal.weight > 0 and bool(_MALWARE.search(signal.reason))
            suspect.networks += signal.name == "clients" and signal.weight > 0
    changes = case_evidence.changes(ledger, since, until)
    for change in changes:
        if change["change"] == "suspended":
            of(change["account"] or change["subject"]).suspended = change["time"]
    return Window(
        since=since,
        until=until,
        suspects=sorted(suspects.values(), key=lambda suspect: (-suspect.weight, suspect.account)),
        campaigns=[(subject, number, len(senders[subject])) for subject, number in campaigns.most_common(SHOWN)],
        changes=changes,
        traps=traps,
    )


def told_traffic(found: Window) -> str:
    """The accounts and campaigns, in sentences."""
    total = sum(suspect.messages for suspect in found.suspects)
    sending = sum(1 for suspect in found.suspects if suspect.messages)
    lines = [f"{total} messages of {sending} accounts from {day(found.since)} to {day(found.until)}"]
    lines += [f"{s.account}: {_told(s)}" for s in found.suspects[:SHOWN] if s.weight > 1]
    lines += [
        f"campaign “{said(subject)}”: {number} suspicious messages from {accounts} accounts"
        for subject, number, accounts in found.campaigns
        if number > 1
    ]
    if len(lines) == 1:
        lines.append("no account stands out")
    return "\n".join(lines)


def told_signs(found: Window) -> str:
    """Complaints, traps, suspensions, scripts, malware and VPNs, in sentences."""
    lines = []
    for name, what in (
        ("complaints", "answers that speak of complaints"),
        ("scripts", "suspicious messages sent by scripts"),
        ("malware", "messages with hints of malware"),
        ("networks", "suspicious messages from networks new to the login (a stolen password, or a VPN)"),
        ("unknown", "answers that there is no such mailbox (an old or bought list)"),
    ):
        by = [(getattr(s, name), s.account) for s in found.suspects if getattr(s, name)]
        if by:
            most = ", ".join(f"{account} ({number})" for number, account in sorted(by, reverse=True)[:5])
            lines.append(f"{sum(number for number, _ in by)} {what}: {most}")
    lines += [f"hint of a spam trap: {text}" for text in found.traps[:SHOWN]]
    lines += [
        f"{day(change['time'])} {change['scope']} {change['subject']} {change['change']} by {change['by']}"
        + (f": {change['reason']}" if change["reason"] else "")
        for change in found.changes[-SHOWN:]
    ]
    return "\n".join(lines) or "no complaint, trap hint, suspension, script, malware or VPN stands out"


def _told(suspect: Suspect) -> str:
    parts = [f"{suspect.messages} messages of {suspect.senders} senders"]
    for number, what in (
        (suspect.stopped, "held or refused by us"),
        (suspect.abuse, "refused as abuse"),
        (suspect.our_address, "refused for our address"),
        (suspect.unknown, "to unknown mailboxes"),
        (suspect.traps, "hints of traps"),
        (suspect.scripts, "suspicious by scripts"),
        (suspect.malware, "with hints of malware"),
    ):
        if number:
            parts.append(f"{number} {what}")
    if suspect.suspended:
        parts.append(f"suspended {day(suspect.suspended)}")
    return ", ".join([*parts, f"highest score {suspect.score:.1f}"])


def _peers(case: Case, config: Config) -> tuple[str, ...]:
    """The next hops of the case's pool, if there are others."""
    pools = {pool.name: pool.smarthosts for pool in config.delivery.pool}
    return tuple(pools[case.pool]) if case.pool in pools and len(pools) > 1 else ()
