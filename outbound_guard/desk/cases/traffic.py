"""Where it may come from: the accounts that sent in the window, and what speaks against each."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from outbound_guard.blocklist.own import pools_of
from outbound_guard.config import Config
from outbound_guard.desk.cases.following import meant
from outbound_guard.desk.cases.opening import covers
from outbound_guard.desk.cases.stages import DAY, HOUR
from outbound_guard.desk.cases.words import day, said
from outbound_guard.ledger import case_evidence, feedback_queries
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
    through: int = 0
    """Messages known to have been tried from the addresses that the case is about."""
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
    addresses: tuple[str, ...]
    """Those of ours that were looked at; empty: all."""
    suspects: list[Suspect]
    """Most suspect first."""
    campaigns: list[tuple[str, int, int]]
    """Of the messages with a high score: subject, messages, accounts."""
    changes: list[dict[str, Any]]
    """What happened to standings."""
    traps: list[tuple[str, int]]
    """Answers that hint at a spam trap, and how often each came; they may hold personal contact data."""


Key = tuple[float, tuple[str, ...], tuple[str, ...]]


def key(case: Case, config: Config) -> Key:
    """What makes the window of a case: when it begins (to the hour), the addresses and the next hops that count."""
    return (case.began - BEFORE) // HOUR * HOUR, _addresses(case, config), _peers(case, config)


def window(case: Case, ledger: Ledger, config: Config, now: float) -> Window:
    """What was sent through the addresses of a case from a day before the first sign on. Raises LedgerError.

    Where it is not known from which address a message was sent, the time and the next hops of the pool decide.
    """
    (since, addresses, peers), until = key(case, config), now
    suspects: dict[str, Suspect] = {}

    def of(account: str) -> Suspect:
        return suspects.setdefault(account, Suspect(account=account))

    for row in case_evidence.sent(ledger, since, until, addresses):
        suspect = of(row["account"])
        suspect.messages += row["messages"]
        suspect.through += row["through"]
        suspect.senders = max(suspect.senders, row["senders"])
        suspect.stopped += row["messages"] if row["action"] not in ("relay", "defer") else 0
        suspect.score = max(suspect.score, row["score"])
    traps: Counter[str] = Counter()
    for row in case_evidence.refused(ledger, since, until, addresses, peers):
        suspect, text = of(row["account"]), row["text"]
        reply, meaning, against_us = meant(row)
        suspect.our_address += against_us
        suspect.abuse += meaning.abuse != "no" and not against_us
        suspect.unknown += meaning.coarse == "unknown_user"
        suspect.complaints += bool(_COMPLAINT.search(text))
        if _TRAP.search(text):
            suspect.traps += 1
            traps[f"{row['account']}: {reply}"] += 1
    for account, number in feedback_queries.complaints(ledger, since, until):
        of(account).complaints += number
    campaigns: Counter[str] = Counter()
    senders: dict[str, set[str]] = {}
    for row in case_evidence.suspicious(ledger, since, until, _SCORE, addresses):
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
    if any(suspect.through for suspect in suspects.values()):
        # What went another way, or was stopped by us before it could leave, brought no address onto a list.
        suspects = {name: one for name, one in suspects.items() if one.through or one.messages > one.stopped}
    return Window(
        since=since,
        until=until,
        addresses=addresses,
        suspects=sorted(suspects.values(), key=lambda suspect: (-suspect.weight, suspect.account)),
        campaigns=[(subject, number, len(senders[subject])) for subject, number in campaigns.most_common(SHOWN)],
        changes=changes,
        traps=traps.most_common(SHOWN),
    )


def told_traffic(found: Window) -> str:
    """The accounts and campaigns, in sentences."""
    total = sum(suspect.messages for suspect in found.suspects)
    through = sum(suspect.through for suspect in found.suspects)
    sending = sum(1 for suspect in found.suspects if suspect.messages)
    times = f"of {_many(sending, 'account')} from {day(found.since)} to {day(found.until)}"
    lines = [f"{_many(total, 'message')} {times}"]
    if through:
        lines = [f"{_many(through, 'message')} through {_some(found.addresses)}, {times}"]
        if total > through:
            lines += [f"{total - through} more of these accounts that may not have left, or from where is not known"]
    elif found.addresses:
        lines += [f"none of them is known to have left from {_some(found.addresses)}"]
    lines += [f"{s.account}: {_told(s)}" for s in found.suspects[:SHOWN] if s.weight > 1]
    lines += [
        f"campaign “{said(subject)}”: {number} suspicious messages from {_many(accounts, 'account')}"
        for subject, number, accounts in found.campaigns
        if number > 1
    ]
    if not found.campaigns and not any(s.weight > 1 for s in found.suspects):
        lines.append("no account stands out")
    return "\n".join(lines)


def told_signs(found: Window) -> str:
    """Complaints, traps, suspensions, scripts, malware and VPNs, in sentences."""
    lines = []
    for name, what in (
        ("complaints", "complaints, in reports or in answers"),
        ("scripts", "suspicious messages sent by scripts"),
        ("malware", "messages with hints of malware"),
        ("networks", "suspicious messages from networks new to the login (a stolen password, or a VPN)"),
        ("unknown", "answers that there is no such mailbox (an old or bought list)"),
    ):
        by = [(getattr(s, name), s.account) for s in found.suspects if getattr(s, name)]
        if by:
            most = ", ".join(f"{account} ({number})" for number, account in sorted(by, reverse=True)[:5])
            lines.append(f"{sum(number for number, _ in by)} {what}: {most}")
    lines += [f"{_many(number, 'hint')} of a spam trap: {said(text)}" for text, number in found.traps]
    lines += [
        f"{day(change['time'])} {change['scope']} {change['subject']} {change['change']} by {change['by']}"
        + (f": {said(change['reason'])}" if change["reason"] else "")
        for change in found.changes[-SHOWN:]
    ]
    return "\n".join(lines) or "no complaint, trap hint, suspension, script, malware or VPN stands out"


def _told(suspect: Suspect) -> str:
    parts = [f"{_many(suspect.messages, 'message')} of {_many(suspect.senders, 'sender')}"]
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


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _some(addresses: tuple[str, ...]) -> str:
    return ", ".join(addresses[:SHOWN]) + (" and others" if len(addresses) > SHOWN else "")


def _addresses(case: Case, config: Config) -> tuple[str, ...]:
    """Our source addresses that the case is about: those it names, or those in the networks it names."""
    named = {subject.subject for subject in case.subjects}
    ours = sorted({address for addresses in pools_of(config).values() for address in addresses})
    return tuple(address for address in ours if any(covers(subject, address) for subject in named))


def _peers(case: Case, config: Config) -> tuple[str, ...]:
    """The next hops of the case's pool, if there are others."""
    pools = {pool.name: pool.smarthosts for pool in config.delivery.pool}
    return tuple(pools[case.pool]) if case.pool in pools and len(pools) > 1 else ()
