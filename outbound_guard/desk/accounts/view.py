"""One account, or one sender inside it: what holds for it now, and where each of it comes from."""

from __future__ import annotations

import asyncio

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Allow, Policy
from outbound_guard.desk.accounts.limits import InForce, exempted_by_policy, is_in_force, limits_in_force
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import account_one_queries as one
from outbound_guard.ledger import class_queries, directory_queries, traffic_queries
from outbound_guard.ledger.account_one_queries import SenderRow
from outbound_guard.ledger.class_queries import ClassChanged, ClassOf
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.records import Note, Standing
from outbound_guard.reputation import Reputation, recent
from outbound_guard.reputation.classes import WAYS, Circumstances, Class, class_of
from outbound_guard.reputation.portrait import Portrait, class_of_account, portraits
from outbound_guard.state import StateDown

DAY = 86400.0
SENDERS = 200
"""Senders of an account whose records are asked for its class."""


class Threshold(msgspec.Struct, frozen=True):
    """Where suspicion leads to something, for this sender or account."""

    name: str
    """watch | hold | quarantine | suspend"""
    at: float
    """Nats."""


class Habit(msgspec.Struct, frozen=True, kw_only=True):
    """What the memory of the relays says; of an account its own records, which count all its senders' traffic."""

    suspicion: float
    """Nats, as of now; of an account the highest among it and its senders."""
    messages: float
    """Calm messages that made its habit; of an account those of its senders together."""
    last_hour: float
    last_day: float
    """Recipients."""
    hour_peak: float
    day_peak: float
    """Recipients of its highest calm hour and day."""
    new_share: float
    """How often a recipient was one it had never written to, in calm times."""
    trust: float
    """How often people had to correct a verdict on it."""


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for an account or a sender now. Times are unix seconds."""

    scope: str
    """account | sender"""
    subject: str
    account: str
    """The account itself, or that of the sender; empty if it is not known."""
    name: str = ""
    contact: str = ""
    note: str = ""
    entered: bool = False
    """True if the account is in the directory."""
    patterns: tuple[str, ...] = ()
    """Senders and patterns that belong to the account by the directory."""
    first: float = 0.0
    last: float = 0.0
    kind: str = ""
    """Of a sender: mailbox | script | system | forwarder | address"""
    class_: Class | None = msgspec.field(default=None, name="class")
    """None: the memory of the relays cannot be asked now."""
    way_back: str = ""
    """What leads out of that class, in words."""
    mail_class: ClassOf | None = None
    """Of a sender: the class that its last message had, by which it was sent; None: it has sent none of late."""
    changes: tuple[ClassChanged, ...] = ()
    """How that class changed, of an account those of its senders; newest first."""
    habit: Habit | None = None
    thresholds: tuple[Threshold, ...] = ()
    standings: tuple[Standing, ...] = ()
    """In force: of itself, of a sender also those of its account, of an account not those of its senders."""
    history: tuple[Standing, ...] = ()
    limits: tuple[InForce, ...] = ()
    allow: tuple[Allow, ...] = ()
    """Allow rules of the policy that may apply."""
    held: int = 0
    day: dict[str, int] = {}
    """Messages of 24 hours by action; of accounts only."""
    senders: tuple[SenderRow, ...] = ()
    sender_count: int = 0
    notes: tuple[Note, ...] = ()
    cases: tuple[dict[str, object], ...] = ()

    def on(self, change: str, scope: str = "") -> Standing | None:
        """The standing of that kind in force (suspended, limited, exempted, probation, pinned), its own first."""
        of = [s for s in self.standings if s.change == change and (not scope or s.scope == scope)]
        return min(of, key=lambda standing: standing.scope != self.scope, default=None)


async def account_view(
    ledger: Ledger, memory: Reputation, clock: Clock, policy: Policy, scope: str, subject: str
) -> AccountView:
    """What holds for an account or sender (`scope`). Raises DeskError if nothing is known of it, LedgerError.

    Without the memory (it is down) class, habit and thresholds are missing.
    """
    now = clock.now()
    view = await asyncio.to_thread(_known, ledger, now, policy, scope, subject)
    pairs = [(view.account, "")]
    if scope == "sender":
        pairs.append((view.account or subject, subject))
    else:
        names = await asyncio.to_thread(one.sender_names, ledger, subject, now - 30 * DAY)
        pairs += [(subject, name) for name in names[:SENDERS]]
    try:
        own, *inside = await portraits(memory, pairs)
    except StateDown:
        return view
    return _with_memory(view, own, inside, policy, now, memory.half_life)


def _known(ledger: Ledger, now: float, policy: Policy, scope: str, subject: str) -> AccountView:
    if scope == "sender":
        account = one.account_of_sender(ledger, subject) or ""
        rows, _ = one.senders(ledger, account, now, search=subject, limit=20) if account else ([], 0)
        itself = next((row for row in rows if row.sender == subject), None)
        times = (itself.first, itself.last) if itself else None
    else:
        account, itself, times = subject, None, one.seen(ledger, subject)
    entry = directory_queries.accounts(ledger, account).get(account)
    standings = directory_queries.standings(ledger, subject)
    history = directory_queries.history(ledger, subject, 100)
    notes = one.notes(ledger, scope, subject)
    if not (times or standings or history or notes or (entry and scope == "account")):
        raise DeskError(f"no {scope} {subject}")
    if scope == "sender" and not account:
        account = next((s.account for s in (*standings, *history) if s.account), "")
    whole = directory_queries.standings(ledger, account) if scope == "sender" and account else []
    about = {(s.scope, s.subject): None for s in standings}
    around = standings + [s for s in whole if s.scope == "account" and (s.scope, s.subject) not in about]
    in_force = [s for s in around if is_in_force(s, now) and (s.subject == subject or s.scope == "account")]
    senders, number = one.senders(ledger, account, now, limit=20) if scope == "account" else ([], 0)
    day = traffic_queries.by_account(ledger, now - DAY + 3600, [account]) if scope == "account" else {}
    return AccountView(
        scope=scope,
        subject=subject,
        account=account,
        name=entry["name"] if entry else "",
        contact=entry["contact"] if entry else "",
        note=entry["note"] if entry else "",
        entered=entry is not None,
        patterns=tuple(directory_queries.senders_of(ledger, account)) if account else (),
        first=times[0] if times else 0.0,
        last=times[1] if times else 0.0,
        kind=itself.kind if itself else "",
        standings=tuple(in_force),
        history=tuple(history),
        limits=tuple(limits_in_force(policy, around, scope, subject, account, now)),
        allow=tuple(exempted_by_policy(policy, scope, subject, account, now)),
        held=one.held_now(ledger, scope, subject),
        day=day.get(account, {}),
        senders=tuple(senders),
        sender_count=number,
        mail_class=class_queries.class_now(ledger, account, subject) if scope == "sender" else None,
        changes=tuple(class_queries.changes(ledger, account, subject if scope == "sender" else "")) if account else (),
        notes=tuple(notes),
        cases=tuple(one.cases_naming(ledger, account)) if account else (),
    )


def _with_memory(
    view: AccountView, own: Portrait, inside: list[Portrait], policy: Policy, now: float, half_life: float
) -> AccountView:
    suspension, probation = view.on("suspended"), view.on("probation")
    now_is = Circumstances(
        suspended=(suspension.reason or "by the desk") if suspension else "",
        probation=probation is not None,
        kind=view.kind,
        watch=policy.threshold.watch,
    )
    if view.scope == "sender":
        itself = inside[0]
        # The scripts of an account share its habits.
        shared = view.kind in ("script", "system")
        class_ = class_of(
            itself.profile,
            own.traffic if shared else itself.traffic,
            itself.suspicion(now, half_life),
            now_is,
            messages=own.profile.messages if shared else None,
            before=view.mail_class.class_ if view.mail_class else "",
        )
    else:
        itself = own
        class_ = class_of_account(own, inside, now, half_life, now_is)
    profile, everybody = itself.profile, (own, *inside) if view.scope == "account" else (itself,)
    # The scripts of an account share its habits; what an account has of its mailboxes is in their records.
    keeper = own.profile if view.kind in ("script", "system") else profile
    recipients = sum(who.profile.recipients for who in everybody) if view.scope == "account" else keeper.recipients
    new = sum(who.profile.new for who in everybody) if view.scope == "account" else keeper.new
    messages = sum(who.profile.messages for who in everybody) if view.scope == "account" else keeper.messages
    trust = max(profile.trust, own.profile.trust)
    # The same rule as in verdict.caution.
    careful = (1.0 + 0.5 * trust) * (policy.probation.thresholds if probation else 1.0)
    steps = policy.threshold
    return msgspec.structs.replace(
        view,
        class_=class_,
        way_back=WAYS[class_.name],
        habit=Habit(
            suspicion=max(who.suspicion(now, half_life) for who in everybody),
            messages=messages,
            last_hour=recent(itself.traffic, "hour", "recipients", now),
            last_day=recent(itself.traffic, "day", "recipients", now),
            hour_peak=itself.traffic.hour_peak,
            day_peak=itself.traffic.day_peak,
            new_share=new / recipients if recipients else 0.0,
            trust=trust,
        ),
        thresholds=(
            Threshold("watch", steps.watch),
            Threshold("hold", steps.hold * careful),
            Threshold("quarantine", steps.quarantine * careful),
            Threshold("suspend", steps.suspend * careful),
        ),
    )
