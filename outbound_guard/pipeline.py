"""THE PATH of a message: read this first.

    edge -> who sent it -> what is known of the sender -> what is odd -> decide -> act -> reply

Every other part of the house is one of these words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.directory import Directory
from outbound_guard.actions import Actions, Outcome
from outbound_guard.config import Policy
from outbound_guard.content import parse
from outbound_guard.content.model import Model
from outbound_guard.delivery.classes import outcomes_of
from outbound_guard.mail import Sender, Submission
from outbound_guard.reply import Reply
from outbound_guard.reputation import Observation, Outcomes, Reputation, sums
from outbound_guard.signals import Panel, View
from outbound_guard.signals.traits import traits
from outbound_guard.verdict import DEFER, RELAY, Judgement, circumstances, decide


class Pipeline:
    """Takes submissions through the house."""

    def __init__(
        self,
        identifier: Identifier,
        directory: Directory,
        reputation: Reputation,
        policy: Policy,
        *,
        model: Model | None,
        observe: bool,
    ) -> None:
        """`observe`: judge and record, but change nothing. Raises ConfigError for a policy that cannot be used."""
        self.identifier, self.directory, self.reputation = identifier, directory, reputation
        self.model, self.observe = model, observe
        self.use(policy)

    def use(self, policy: Policy) -> None:
        """Judge by this policy from now on. Raises ConfigError for an unknown signal; then the old one stays."""
        self.panel, self.policy = Panel(policy), policy

    async def submit(
        self, submission: Submission, actions: Actions, done: Callable[[Judgement, Outcome], None]
    ) -> Reply:
        """Take a submission in: judge it, do what the verdict says, remember, tell `done`, answer."""
        judgement = await self.judge(submission, submission.received)
        # Suspicion must be known before the next message comes; anything else can wait for the next hop's answer.
        suspicious = judgement.verdict.score >= self.policy.threshold.watch
        if suspicious:
            self.learn(judgement)
        outcome = await actions.carry_out(judgement, self.policy)
        if not suspicious:
            self.learn(judgement, outcome.answers)
        elif outcome.answers:
            self.answered(judgement.sender, judgement.memory.sender, submission.received, outcome.answers)
        done(judgement, outcome)
        return outcome.reply

    async def judge(
        self,
        submission: Submission,
        now: float,
        *,
        sender: Sender | None = None,
        held_for: float | None = None,
        count: bool = True,
    ) -> Judgement:
        """Find out who sent it, what is known of the sender and what is odd, and decide. Nothing is remembered yet.

        `sender` and `held_for` (seconds) of a message that was held; `count` is False for one that only looks.
        """
        message = parse(submission.content)
        sender = sender or self.identifier.identify(submission, message.headers)
        opinion = self.model.score(message) if self.model else None
        said = opinion[0] if opinion else 0.0
        recipients = submission.envelope.recipients
        seen = Observation(now, sender, recipients, traits(sender, message), message.fingerprint, said)
        memory = await self.reputation.recall(seen, count=count and held_for is None)
        carried = sums(memory.sender, now, self.reputation.half_life)
        view = View(submission, sender, message, memory, opinion, now)
        signals, evidence = self.panel.look(view, carried, again=held_for is not None)
        around = circumstances(submission, sender, memory, self.directory, self.policy, now, held_for)
        verdict = decide(sender, signals, memory, self.policy, around)
        return Judgement(submission, message, sender, seen, memory, verdict, evidence)

    def learn(self, judgement: Judgement, answers: Sequence[Reply] = ()) -> None:
        """Remember what a judgement found, and what the world answered already."""
        verdict, sender, memory = judgement.verdict, judgement.sender, judgement.memory
        if not memory.available:
            return
        suspicious = verdict.score >= self.policy.threshold.watch
        outcomes = outcomes_of(answers)
        self.reputation.learn(
            judgement.seen,
            memory,
            # What a forwarder passes on was written by others.
            [*judgement.evidence, *self.panel.answered(sender, outcomes, memory.sender)]
            if sender.kind != "forwarder"
            else [],
            habit=verdict.action == RELAY and not suspicious,
            suspend="sender" if verdict.suspend and not self.observe else "",
            suspicious=suspicious,
            uncount=verdict.action == DEFER and not self.observe,
            outcomes=outcomes,
        )

    def answered(self, sender: Sender, record: Any, now: float, answers: Sequence[Reply]) -> None:
        """Remember what the world answered at `now` (unix seconds), weighed against the sender's memory `record`."""
        self._outcomes(sender, record, now, outcomes_of(answers))

    def complained(self, sender: Sender, record: Any, now: float) -> None:
        """Remember that a recipient has complained."""
        self._outcomes(sender, record, now, [("complaint", 1)])

    def _outcomes(self, sender: Sender, record: Any, now: float, outcomes: Outcomes) -> None:
        self.reputation.outcome(sender, now, outcomes, self.panel.answered(sender, outcomes, record))
