"""THE PATH of a message: read this first.

    edge -> who sent it -> what is known of the sender -> what is odd -> decide -> act -> reply

Every other part of the house is one of these words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.directory import Directory
from outbound_guard.actions import Actions, Outcome
from outbound_guard.config import Policy
from outbound_guard.content import Bodies, Message, parse
from outbound_guard.content.model import Model
from outbound_guard.learning import Learning
from outbound_guard.mail import LARGE, Sender, Submission
from outbound_guard.reply import Reply
from outbound_guard.reputation import Reputation, sums
from outbound_guard.reputation.forwarding import believed
from outbound_guard.reputation.sender_classes import SenderClasses
from outbound_guard.reputation.slices import Slices
from outbound_guard.scanners import Scanners
from outbound_guard.signals import Panel, View
from outbound_guard.signals.traits import observe
from outbound_guard.verdict import SLICE, Held, Judgement, circumstances, class_now, decide, in_doubt


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
        scanners: Scanners | None = None,
        classes: SenderClasses | None = None,
        bodies: Bodies | None = None,
    ) -> None:
        """`observe`: judge and record, but change nothing. `bodies`: where those that come again are known.

        Raises ConfigError for a policy that cannot be used.
        """
        self.bodies = bodies
        self.classes = classes or SenderClasses()
        self.identifier, self.directory, self.reputation = identifier, directory, reputation
        self.model, self.observe, self.scanners = model, observe, scanners
        self.factors: Mapping[str, float] = {}
        self.slices = Slices(policy.hold)
        self.use(policy)

    def use(self, policy: Policy) -> None:
        """Judge by this policy from now on. Raises ConfigError for an unknown signal; then the old one stays."""
        self.panel, self.policy = Panel(policy, self.factors), policy
        self.learning = Learning(self.reputation, self.panel, policy, observe=self.observe)
        self.slices.hold = policy.hold

    def weigh(self, factors: Mapping[str, float]) -> None:
        """Multiply the weights of signals by what people's decisions have made of them (1 for those not named)."""
        self.factors = factors
        self.use(self.policy)

    async def submit(
        self, submission: Submission, actions: Actions, done: Callable[[Judgement, Outcome], None]
    ) -> Reply:
        """Take a submission in: judge it, do what the verdict says, answer; then remember, and tell `done`."""
        judgement = await self.judge(submission, submission.received)
        # Suspicion must be known before the next message comes; anything else can wait for the next hop's answer.
        suspicious = judgement.verdict.score >= self.policy.threshold.watch
        if suspicious:
            self.learning.judged(judgement)
        outcome = await actions.carry_out(judgement, self.policy)

        def settled() -> None:
            done(judgement, outcome)
            if not suspicious:
                self.learning.judged(judgement, outcome.answers)
            elif outcome.answers:
                memory, now = judgement.memory, submission.received
                self.learning.answered(judgement.sender, memory.sender, now, outcome.answers, new=memory.new_share)

        # Its fate is settled: what is noted about it neither delays the answer nor, should it fail, changes it.
        asyncio.get_running_loop().call_soon(settled)
        return outcome.reply

    async def judge(
        self,
        submission: Submission,
        now: float,
        *,
        message: Message | None = None,
        sender: Sender | None = None,
        held: Held | None = None,
        count: bool = True,
    ) -> Judgement:
        """Find out who sent it, what is known of the sender and what is odd, and decide. Nothing is remembered yet.

        `message` if it was read already; `sender` and `held` of one that was held; `count` is False for one that
        only looks.
        """
        message = message or parse(submission.content, self.bodies)
        if message.size > LARGE:
            await asyncio.to_thread(message.read)
        sender = sender or self.identifier.identify(submission, message.headers)
        opinion = self.model.score(message) if self.model and self.panel.reads_content else None
        seen = observe(submission, sender, message, opinion[0] if opinion else 0.0, now)
        memory = await self.reputation.recall(seen, count=count and not held)
        sender = believed(sender, memory)
        # What speaks against a sender fades with time, but mail that was held for it is not let go by waiting alone.
        faded_to = memory.sender.sums_at if held else now
        carried = sums(memory.sender, faded_to, self.reputation.half_life)
        asked = self.scanners if self.panel.reads_opinions and not memory.sender.suspended else None
        opinions = await asked.ask(submission, message) if asked else ()
        view = View(submission, sender, message, memory, opinion, now, opinions)
        signals, evidence = self.panel.look(view, carried, again=held.weights if held else None)
        recipients = len(submission.envelope.recipients)
        held_for = held.seconds if held else None
        around = circumstances(submission, message, sender, memory, self.directory, self.policy, now, held_for)
        if held and (doubt := in_doubt(sender, signals, memory, self.policy, around)) is not None:
            room = self.slices.room(sender, memory, recipients, now, doubt)
            around = msgspec.structs.replace(around, slice_=room)
        verdict = decide(sender, signals, memory, self.policy, around)
        if verdict.code == SLICE:
            # Nothing is waited for since its room was measured, so no two messages take the same.
            self.slices.let_out(sender, memory, recipients, now)
        class_ = class_now(self.classes, submission, sender, memory, verdict, around, self.policy, now)
        pool = self.directory.pool(sender.name, sender.account, now)
        return Judgement(submission, message, sender, seen, memory, verdict, evidence, opinions, class_, pool)
