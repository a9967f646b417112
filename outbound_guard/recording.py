"""What is written down about each submission: one log line, one record for the ledger, the metrics."""

from __future__ import annotations

from outbound_guard.accounts.directory import Directory
from outbound_guard.actions import Outcome
from outbound_guard.delivery.classes import outcome_of
from outbound_guard.delivery.result import Result
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Decision, Delivered, Standing, Suppression, fingerprint_text
from outbound_guard.mail import same_address
from outbound_guard.maillog import MailLog, Reception
from outbound_guard.metrics import Metrics
from outbound_guard.trace.tape import Tape
from outbound_guard.verdict import Judgement

_SAID = 1000
"""Characters of an answer that are kept on a suppression list."""


class Recorder:
    """Writes down what was judged and done. Nothing here waits for a disk or a database."""

    def __init__(
        self,
        journal: Journal,
        log: MailLog,
        metrics: Metrics,
        directory: Directory,
        *,
        observe: bool,
        tape: Tape | None = None,
    ) -> None:
        """`tape`: where the traffic is recorded for replay, if it is."""
        self._journal, self._log, self._metrics, self._directory = journal, log, metrics, directory
        self._tape = tape
        self._mode = "observe" if observe else "enforce"

    def taken_in(self, judgement: Judgement, outcome: Outcome, took: float) -> None:
        """A submission was judged and answered; `took` is the time from its reception to the answer, in seconds."""
        submission, sender, verdict = judgement.submission, judgement.sender, judgement.verdict
        answered = str(outcome.reply)
        self._journal.append(
            Decision(
                id=submission.id,
                received=submission.received,
                account=sender.account,
                sender=sender.name,
                action=verdict.action,
                score=verdict.score,
                code=verdict.code,
                reason=verdict.reason,
                signals=verdict.signals,
                sender_kind=sender.kind,
                source=sender.source,
                server=submission.server or "",
                client_ip=submission.client_ip,
                mail_from=submission.envelope.mail_from,
                recipients=submission.envelope.recipients,
                subject=judgement.message.subject,
                message_id=judgement.message.message_id,
                size=len(submission.content),
                mode=self._mode,
                state=outcome.state,
                due=submission.received + verdict.wait if outcome.state == "held" and verdict.wait else 0.0,
                answered=answered,
                source_address=outcome.result.source if outcome.result else "",
                text=fingerprint_text(judgement.seen.fingerprint),
            )
        )
        if outcome.result and outcome.reply.accepted and not outcome.state and len(outcome.result.replies) == 1:
            # `answered` says it all; a row of its own would make a third of the ledger's work.
            self._metrics.count("deliveries_total", "delivered")
        elif outcome.result:
            self._delivered(
                submission.id,
                submission.received,
                submission.envelope.recipients,
                outcome.result,
                account=sender.account,
            )
        if self._tape is not None:
            self._tape.taken_in(judgement, outcome.answers, outcome.state, took)
        signals: dict[str, float] = {}
        shadow: dict[str, float] = {}
        for signal in verdict.signals:
            (shadow if signal.shadow else signals)[signal.name] = round(signal.weight, 2)
            if signal.weight >= 1.0:
                self._metrics.count("signal_total", signal.name)
        self._log.reception(
            Reception(
                timestamp=round(submission.received, 3),
                id=submission.id,
                sender=submission.envelope.mail_from,
                recipient=submission.envelope.recipients,
                size=len(submission.content),
                peer_address={"addr": submission.client_ip, "name": submission.helo},
                account=sender.account,
                identity=sender.name,
                identity_source=sender.source,
                class_=judgement.class_,
                action=verdict.action,
                code=verdict.code,
                score=round(verdict.score, 2),
                signals=signals,
                shadow=shadow,
                state=outcome.state,
                response=answered,
                seconds=round(took, 4),
            )
        )
        self._metrics.count("messages_total", verdict.action, verdict.code)
        self._metrics.observe("message_seconds", took)
        if outcome.state in ("held", "quarantine"):
            self._metrics.count("held_total", verdict.code)
        if verdict.suspend and self._mode == "enforce":
            self._suspend(judgement)

    def delivered(
        self,
        id_: str,
        now: float,
        recipients: tuple[str, ...],
        result: Result,
        *,
        given_up: bool = False,
        about: str = "",
        account: str = "",
    ) -> None:
        """A next hop has answered for each of the recipients of a message that was taken in before.

        `given_up`: it is not tried again, whatever was answered. `about`: of a report (a bounce), the message.
        `account`: on whose suppression list those go who do not exist; empty: on none.
        """
        self._delivered(id_, now, recipients, result, given_up, about, account)
        if self._tape is not None and result.peer:
            self._tape.answered(id_, now, recipients, result.replies)

    def _delivered(
        self,
        id_: str,
        now: float,
        recipients: tuple[str, ...],
        result: Result,
        given_up: bool = False,
        about: str = "",
        account: str = "",
    ) -> None:
        for place, (recipient, reply) in enumerate(zip(recipients, result.replies, strict=True)):
            peer, source = result.peer_of(place), result.source_of(place)
            final = given_up or not reply.temporary
            self._journal.append(
                Delivered(id_, now, recipient, reply.code, reply.enhanced, reply.text, peer, final, source, about)
            )
            outcome = "delivered" if reply.accepted else "deferred" if reply.temporary else "rejected"
            self._metrics.count("deliveries_total", outcome)
            if reply.permanent and peer and account and outcome_of(reply) == "unknown_user":
                self._journal.append(
                    Suppression(now, account, same_address(recipient), "added", "unknown_user", id_, str(reply)[:_SAID])
                )

    def _suspend(self, judgement: Judgement) -> None:
        verdict, sender = judgement.verdict, judgement.sender
        standing = Standing(
            time=judgement.submission.received,
            scope="sender",
            subject=sender.name,
            change="suspended",
            account=sender.account,
            reason=f"{verdict.code}: {verdict.reason} (score {verdict.score:.1f}, message {judgement.submission.id})",
        )
        self._directory.suspend_now(standing)
        self._journal.append(standing)
        self._log.event(
            "Suspension",
            judgement.submission.received,
            identity=sender.name,
            account=sender.account,
            id=judgement.submission.id,
            code=verdict.code,
            reason=verdict.reason,
        )
        self._metrics.count("suspensions_total", verdict.code)
