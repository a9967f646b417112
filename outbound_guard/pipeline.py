"""THE PATH of a message: read this first.

    edge -> who sent it -> what is known of the sender -> what is odd -> decide -> act -> reply

Every other part of the house is one of these words.
"""

from __future__ import annotations

from collections.abc import Callable

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.directory import Directory
from outbound_guard.actions import Actions, Outcome
from outbound_guard.config import Policy
from outbound_guard.content import Message, parse
from outbound_guard.mail import Sender, Submission
from outbound_guard.reply import Reply
from outbound_guard.reputation import Evidence, Observation, Reputation, sums
from outbound_guard.signals import Panel, View
from outbound_guard.signals.traits import traits
from outbound_guard.verdict import Judgement, circumstances, decide


class Pipeline:
    """Takes submissions through the house."""

    def __init__(
        self, identifier: Identifier, directory: Directory, reputation: Reputation, policy: Policy, *, observe: bool
    ) -> None:
        """`observe`: judge and record, but change nothing. Raises ConfigError for a policy that cannot be used."""
        self.identifier, self.directory, self.reputation, self.observe = identifier, directory, reputation, observe
        self.use(policy)

    def use(self, policy: Policy) -> None:
        """Judge by this policy from now on. Raises ConfigError for an unknown signal; then the old one stays."""
        self.panel, self.policy = Panel(policy), policy

    async def submit(
        self, submission: Submission, actions: Actions, done: Callable[[Judgement, Outcome], None]
    ) -> Reply:
        """Take a submission in: judge it, do what the verdict says, tell `done`, answer."""
        judgement = await self.judge(submission, submission.received)
        outcome = await actions.carry_out(judgement, self.policy)
        done(judgement, outcome)
        return outcome.reply

    async def judge(self, submission: Submission, now: float) -> Judgement:
        """Find out who sent it, what is known and what is odd, decide, and remember."""
        message = parse(submission.content)
        sender = self.identifier.identify(submission, message.headers)
        judgement, evidence = await self._weigh(submission, sender, message, now, None)
        if judgement.memory.available:
            self._learn(judgement, evidence)
        return judgement

    async def review(self, submission: Submission, sender: Sender, now: float, held_for: float) -> Judgement:
        """Judge a message again that was held for `held_for` seconds: it is not counted again, nor remembered."""
        return (await self._weigh(submission, sender, parse(submission.content), now, held_for))[0]

    async def preview(self, submission: Submission, now: float) -> Judgement:
        """What would be decided; nothing is counted or remembered."""
        message = parse(submission.content)
        sender = self.identifier.identify(submission, message.headers)
        return (await self._weigh(submission, sender, message, now, None, count=False))[0]

    async def _weigh(
        self,
        submission: Submission,
        sender: Sender,
        message: Message,
        now: float,
        held_for: float | None,
        *,
        count: bool = True,
    ) -> tuple[Judgement, list[Evidence]]:
        again = held_for is not None
        recipients = submission.envelope.recipients
        seen = Observation(now, sender, recipients, traits(sender, message), message.fingerprint)
        memory = await self.reputation.recall(seen, count=count and not again)
        view = View(submission, sender, message, memory, now)
        carried = sums(memory.sender, now, self.reputation.half_life)
        signals, evidence = self.panel.look(view, carried, again=again)
        known = circumstances(submission, sender, memory, self.directory, self.policy, now, held_for)
        verdict = decide(sender, signals, memory, self.policy, known)
        return Judgement(submission, message, sender, seen, memory, verdict), evidence

    def _learn(self, judgement: Judgement, evidence: list[Evidence]) -> None:
        verdict, watch = judgement.verdict, self.policy.threshold.watch
        self.reputation.learn(
            judgement.seen,
            judgement.memory,
            () if judgement.sender.kind == "forwarder" else evidence,
            habit=verdict.action == "relay" and verdict.score < watch,
            suspend="sender" if verdict.suspend and not self.observe else "",
            suspicious=verdict.score >= watch,
            uncount=verdict.action == "defer" and not self.observe,
        )
