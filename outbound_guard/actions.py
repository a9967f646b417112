"""ACTION: what a verdict says is done here, and every submission gets its reply.

250 is answered in two cases only: the next hop has taken the message, or it is fsynced in the spool. What fails on
our side is answered 4xx, so that the client keeps the message.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import formatdate

import msgspec

from outbound_guard import reply as replies
from outbound_guard.accounts.token import Tokens
from outbound_guard.config import Policy
from outbound_guard.delivery import Delivery
from outbound_guard.delivery.bounce import may_bounce, write_bounce, write_report
from outbound_guard.delivery.dsn import RELAYED
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.withholding import send_to_rest
from outbound_guard.mail import LARGE, Asked, Envelope, Headers, Sender, new_id, owned, without_fields
from outbound_guard.reply import Reply
from outbound_guard.spool import Entry, Failure, Spool, SpoolFull, State
from outbound_guard.verdict import DEFER, HOLD, QUARANTINE, RELAY, SUSPENDED, Judgement

_log = logging.getLogger(__name__)

_CAMPAIGNS = 5
"""Campaigns of one sender of which samples are kept."""


class Outcome(msgspec.Struct, frozen=True):
    """What was done: the answer to the client, where the message is now, and what the next hop said."""

    reply: Reply
    state: str = ""
    """Where it is at rest: "", "queued", "held" or "quarantine"."""
    result: Result | None = None

    @property
    def answers(self) -> tuple[Reply, ...]:
        """What the world answered, one reply for each recipient; empty if it was not asked or not reached."""
        return self.result.replies if self.result and self.result.reached else ()


class Actions:
    """Carries out verdicts, in the relay processes."""

    def __init__(
        self,
        delivery: Delivery,
        spool: Spool,
        tokens: Tokens,
        *,
        hostname: str,
        to_strip: Callable[[Headers], tuple[str, ...]],
        first_retry: float = 0.0,
        observe: bool = False,
        signed: Callable[[list[bytes], Judgement], list[bytes]] = lambda content, _: content,
        suppressed: Callable[[str, str, str], Reply | None] | None = None,
    ) -> None:
        """`to_strip` names the header fields not to pass on (accounts.Identifier).

        `first_retry`: seconds until what the next hop did not take is tried again. `observe`: relay whatever the
        verdict says. `signed` puts signatures in front of a message that is otherwise ready to go. `suppressed` has the
        refusal for a recipient (account, address, id of the message) that the account is not to write to.
        """
        self._signed, self._suppressed = signed, suppressed
        self._delivery, self._spool, self._tokens = delivery, spool, tokens
        self._hostname, self._to_strip, self.observe = hostname, to_strip, observe
        self._first_retry = first_retry
        self._samples: Counter[tuple[str, int]] = Counter()

    async def carry_out(self, judgement: Judgement, policy: Policy) -> Outcome:
        """Do what the verdict says. Never raises for a full disk or a dead next hop: those are answered 4xx."""
        submission, verdict = judgement.submission, judgement.verdict
        action = RELAY if self.observe else verdict.action
        word = f"OG-{verdict.code.upper()}"
        withheld = self._withheld(judgement)
        if action in (RELAY, HOLD) and len(withheld) == len(submission.envelope.recipients):
            return Outcome(withheld[0])
        try:
            if action == RELAY:
                return await self._relay(judgement, withheld)
            if action == DEFER:
                return Outcome(replies.deferred(word, verdict.reason, verdict.wait, submission.id))
            if action == HOLD:
                due = submission.received + verdict.wait if verdict.wait else 0.0
                return await self._keep(judgement, "held", due)
            if action == QUARANTINE and self._sampled(judgement, policy):
                return await self._keep(judgement, "quarantine", 0.0)
        except SpoolFull:
            return Outcome(replies.OVERLOADED)
        except (OSError, UnicodeError):
            _log.exception("%s cannot be kept", submission.id)
            return Outcome(replies.OUR_FAULT)
        if verdict.code == SUSPENDED:
            return Outcome(replies.suspended(submission.id))
        return Outcome(replies.refused(word, "refused as abuse", submission.id))

    def _withheld(self, judgement: Judgement) -> dict[int, Reply]:
        """The refusals for recipients that the account is not to write to, by their place."""
        if self._suppressed is None or self.observe:
            return {}
        account, id_ = judgement.sender.account, judgement.submission.id
        answers = [self._suppressed(account, to, id_) for to in judgement.submission.envelope.recipients]
        return {place: reply for place, reply in enumerate(answers) if reply is not None}

    async def _relay(self, judgement: Judgement, withheld: Mapping[int, Reply]) -> Outcome:
        submission = judgement.submission
        content = await self._ready(judgement)
        envelope = _permitted(submission.envelope, judgement.sender)
        way = (judgement.pool, judgement.class_)
        if withheld:
            result = await send_to_rest(withheld, envelope, lambda rest: self._delivery.send(rest, content, *way))
        else:
            result = await self._delivery.send(envelope, content, *way)
        if result.relayed:
            await self._report_relayed(judgement, result, content)
        first = result.replies[0]
        alike = len(result.replies) == 1 or all(reply.code == first.code for reply in result.replies)
        # Where we are the one who tries again, no client has to.
        alike = alike and not (result.keep and first.temporary)
        # That our own address is refused is no answer for a client: what is left of such a message is queued.
        answered = result.reached and not result.listed
        if answered and (alike or all(reply.accepted for reply in result.replies)):
            # Cut-through: all recipients were answered alike, so the next hop's own reply is the client's.
            return Outcome(_one_reply(result, submission.id), "", result)
        if answered and all(reply.permanent for reply in result.replies):
            return Outcome(first, "", result)
        # The rest is ours now: what was refused for now is tried again, what was refused for good is returned.
        answers = list(zip(submission.envelope.recipients, result.replies, strict=True))
        failed = tuple(
            Failure(to, reply, result.peer_of(place), submission.received)
            for place, (to, reply) in enumerate(answers)
            if reply.permanent
        )
        waiting = tuple(to for to, reply in answers if reply.temporary)
        # Whoever has it already must not get it again because the disk is nearly full.
        reserve = any(reply.accepted for reply in result.replies)
        if waiting:
            rest = msgspec.structs.replace(submission.envelope, recipients=waiting)
            due = submission.received + (result.wait or self._first_retry)
            attempts = 0 if result.wait else 1
            entry = _entry(judgement, rest, due=due, attempts=attempts)
            entry = msgspec.structs.replace(entry, replies={to: reply for to, reply in answers if reply.temporary})
            await self._spool.put(entry, content, "incoming", reserve=reserve)
        if failed:
            await self._return(judgement, failed, content, reserve=reserve)
        return Outcome(replies.queued(submission.id), "queued" if waiting else "", result)

    async def _report_relayed(self, judgement: Judgement, result: Result, content: list[bytes]) -> None:
        """Tell the sender of recipients whose next hop has the message and does not report that, as was asked for."""
        entry, now = _entry(judgement), judgement.submission.received
        relayed = [
            Failure(entry.envelope.recipients[place], result.replies[place], result.peer_of(place), now)
            for place in result.relayed
        ]
        try:
            await write_report(
                self._spool, entry, RELAYED, relayed, b"".join(content), hostname=self._hostname, now=now
            )
        except OSError:
            # They have it: to refuse the message now would double it.
            _log.exception("%s: that it was relayed cannot be reported", entry.id)

    async def _return(
        self, judgement: Judgement, failed: tuple[Failure, ...], content: list[bytes], *, reserve: bool
    ) -> None:
        """Tell the sender about recipients that were refused while others were not; one that may not be told (its
        account does not own the address) finds them in quarantine: nothing vanishes."""
        now = judgement.submission.received
        whole = _entry(judgement)
        if may_bounce(whole):
            await write_bounce(self._spool, whole, failed, b"".join(content), hostname=self._hostname, now=now)
            return
        refused = msgspec.structs.replace(whole.envelope, recipients=tuple(failure.recipient for failure in failed))
        reasons = (*whole.reasons, *(f"{failure.recipient}: {failure.reply}" for failure in failed))
        entry = msgspec.structs.replace(whole, id=new_id(now), envelope=refused, code="refused", reasons=reasons)
        await self._spool.put(entry, content, "quarantine", reserve=reserve)

    async def _keep(self, judgement: Judgement, state: State, due: float) -> Outcome:
        await self._spool.put(_entry(judgement, due=due), await self._ready(judgement), state)
        return Outcome(replies.held(judgement.submission.id), state)

    async def _ready(self, judgement: Judgement) -> list[bytes]:
        """The message as it leaves; a large one is made ready in a thread."""
        if judgement.message.size > LARGE:
            return await asyncio.to_thread(self._outgoing, judgement)
        return self._outgoing(judgement)

    def _outgoing(self, judgement: Judgement) -> list[bytes]:
        """The message as it leaves: our trace fields, then every octet as it came, less the identity fields."""
        submission, message = judgement.submission, judgement.message
        envelope = submission.envelope
        only = f"\r\n\tfor <{envelope.recipients[0]}>" if len(envelope.recipients) == 1 else ""
        trace = (
            f"Received: from {_named(submission.helo)} ([{_literal(submission.client_ip)}])\r\n"
            f"\tby {self._hostname} (Outbound Guard) with {submission.protocol}\r\n"
            f"\tid {submission.id}{only}; {_date(int(submission.received))}\r\n"
            f"X-Outbound-Guard-Id: {self._tokens.seal(submission.id)}\r\n"
        )
        present = self._to_strip(message.headers)
        kept = without_fields(submission.content, message.headers.end, present) if present else [submission.content]
        return self._signed([trace.encode("utf-8"), *kept], judgement)

    def _sampled(self, judgement: Judgement, policy: Policy) -> bool:
        """True while few enough messages of this sender and campaign lie in quarantine."""
        sender, most = judgement.sender.name, policy.quarantine.samples
        if len(self._samples) > 100_000:
            self._samples.clear()
        self._samples[sender, judgement.message.fingerprint] += 1
        # A text that is never the same twice must not fill the disk either.
        self._samples[sender, -1] += 1
        within = self._samples[sender, -1] <= most * _CAMPAIGNS
        return within and self._samples[sender, judgement.message.fingerprint] <= most


def _entry(judgement: Judgement, envelope: Envelope | None = None, *, due: float = 0.0, attempts: int = 0) -> Entry:
    submission, message, sender, verdict = judgement.submission, judgement.message, judgement.sender, judgement.verdict
    mail_from = submission.envelope.mail_from
    return Entry(
        id=submission.id,
        received=submission.received,
        envelope=_permitted(envelope or submission.envelope, sender),
        account=sender.account,
        sender=sender.name,
        subject=message.subject,
        action=verdict.action,
        score=verdict.score,
        code=verdict.code,
        reasons=tuple(f"{s.name} {s.weight:+.1f}: {s.reason}" for s in verdict.signals if abs(s.weight) >= 0.1),
        weights={signal.name: signal.weight for signal in verdict.signals} if verdict.wait else {},
        client_ip=submission.client_ip,
        due=due,
        attempts=attempts,
        bounce_to=mail_from if owns(sender, mail_from) else "",
        meta={
            "kind": sender.kind,
            "fingerprint": f"{message.fingerprint:x}",
            "class": judgement.class_,
            "new": f"{judgement.memory.new_share:.3g}",
        },
    )


def _permitted(envelope: Envelope, sender: Sender) -> Envelope:
    """The envelope with the reports that may be asked for: to an address that the account does not own, none but NEVER.

    A next hop that was asked to report success to a stranger would do so.
    """
    if not (envelope.asked or envelope.ret or envelope.envid) or owns(sender, envelope.mail_from):
        return envelope
    never = {to: Asked(asked.notify) for to, asked in envelope.asked.items() if asked.notify == ("NEVER",)}
    return msgspec.structs.replace(envelope, ret="", envid="", asked=never)


def _literal(ip: str) -> str:
    """An address as RFC 5321 4.1.3 writes it in brackets."""
    return f"IPv6:{ip}" if ":" in ip else ip


@functools.lru_cache(1024)
def _named(helo: str) -> str:
    """What a client calls itself, fit for a Received field; the same few clients come again and again."""
    return "".join(letter if letter.isprintable() and letter not in "()" else "?" for letter in helo) or "unknown"


@functools.lru_cache(4)
def _date(second: int) -> str:
    """RFC 5322 3.3; the messages of one second share it."""
    return formatdate(second)


def owns(sender: Sender, address: str) -> bool:
    """True if a bounce to `address` reaches the sender's own account: it is the sender, or lies in its domain."""
    return owned(address, sender.account, sender.name)


def _one_reply(result: Result, id_: str) -> Reply:
    reply = result.replies[0]
    text = reply.text if id_ in reply.text else f"{reply.text} ({id_})"
    return Reply(reply.code, reply.enhanced, text)
