"""MEMORY: what is known of a sender, an account and a campaign, kept in Redis.

One awaited round trip a message reads and counts (`recall`). What a judgement found, and what the world answered, is
written behind (`learn`, `outcome`). While the store is down nothing is known, nothing is held against anybody, and
mail goes on.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from importlib import resources

import msgspec

from outbound_guard.mail import Sender
from outbound_guard.reputation.keys import hashed, keeper_of, keys_of
from outbound_guard.reputation.memory import (
    NO_PROFILE,
    NOTHING,
    OUTCOMES,
    SLOTS,
    TRAITS,
    Campaign,
    Memory,
    decode_profile,
    decode_traffic,
    lua,
    recent,
    sums,
)
from outbound_guard.state import State, StateDown

__all__ = [
    "NO_PROFILE",
    "OUTCOMES",
    "SLOTS",
    "TRAITS",
    "Campaign",
    "Evidence",
    "Memory",
    "Observation",
    "Outcomes",
    "Reputation",
    "recent",
    "sums",
]

_CAMPAIGN_KEPT = 7 * 86_400
"""Seconds a campaign is remembered after its last message."""

_RECIPIENTS_KNOWN = 2000
"""Recipients of one message that are looked up and remembered; the rest is only counted."""


# How numbers go into the scripts: packed, which costs a tenth of numbers as text (learn.lua, recall.lua).
_LOOK_UP = struct.Struct("<dBH")
_HEAD = struct.Struct("<dBdBBfHHBBBB")
_EVIDENCE = struct.Struct("<Bfff")
_OUTCOME = struct.Struct("<BH")
_SUSPEND = {"": 0, "sender": 1, "account": 2}


class Observation(msgspec.Struct, frozen=True):
    """What of a submission is looked up and remembered."""

    now: float
    sender: Sender
    recipients: tuple[str, ...]
    traits: tuple[str | None, ...]
    """Values of TRAITS, in that order; None where the message has none."""
    fingerprint: int = 0
    """Of the normalised text; 0 for none."""
    content: float = 0.0
    """What the content model says of it, in nats."""


class Evidence(msgspec.Struct, frozen=True):
    """What a judgement adds to a sender's running sums: the slot, the weight (nats) and the bounds of the sum."""

    slot: int
    weight: float
    low: float
    high: float


Outcomes = Sequence[tuple[str, int]]
"""What the world answered: classes (OUTCOMES), and for how many recipients."""


class Reputation:
    """The product's memory. `half_life`: seconds in which evidence loses half of its weight."""

    def __init__(self, state: State, half_life: float = 2 * 86_400.0) -> None:
        self._state = state
        self.half_life = half_life
        record = script_text("record")
        self._recall = state.script(lua(record + script_text("recall")))
        self._learn = state.script(lua(record + script_text("learn")))
        self._pardon = state.script(lua(record + script_text("pardon")))
        self._campaign = state.script(script_text("campaign"))
        self._mark = state.script(script_text("mark"))

    async def recall(self, seen: Observation, *, count: bool = True) -> Memory:
        """Read what is known, and unless `count` is False count the message; NOTHING while the store is down."""
        sender = seen.sender
        keys = keys_of(sender)
        hashes = [
            b"" if value is None else hashed(kind + value) for kind, value in zip(TRAITS, seen.traits, strict=True)
        ]
        hashes += [hashed("rcpt" + address.lower()) for address in seen.recipients[:_RECIPIENTS_KNOWN]]
        counting = b"1" if count else b"0"
        arguments = [_LOOK_UP.pack(seen.now, count, min(len(seen.recipients), 65_535)), *hashes]
        try:
            remembering = self._state.start(self._recall, keys, arguments)
            campaign = None
            if seen.fingerprint:
                told = await self._state.call(
                    self._campaign, _campaign_keys(seen.fingerprint), [hashed(sender.name), counting, _CAMPAIGN_KEPT]
                )
                campaign = Campaign(*told)
            sender_traffic, account_traffic, profile, account, new_recipients, traits, networks = await remembering
        except StateDown:
            return NOTHING
        return Memory(
            sender=decode_profile(profile),
            account=decode_profile(account),
            sender_traffic=decode_traffic(sender_traffic),
            account_traffic=decode_traffic(account_traffic),
            keeps="account" if keeper_of(sender) == 2 else "sender",
            new_recipients=new_recipients,
            new_traits=tuple([letter != 48 for letter in traits]),  # 48: the digit zero.
            first_seen=new_recipients > 0 or b"1" in traits,
            campaign=campaign,
            hashes=tuple(hashes),
            networks=networks,
        )

    def learn(
        self,
        seen: Observation,
        memory: Memory,
        evidence: Sequence[Evidence],
        *,
        habit: bool,
        went_out: bool = False,
        suspend: str = "",
        suspicious: bool = False,
        uncount: bool = False,
        outcomes: Outcomes = (),
    ) -> None:
        """Write behind what was found.

        `habit`: the message may become one; `went_out`: its content counts as what the sender writes; `suspend`: "",
        "sender" or "account"; `suspicious`: note it against the campaign; `uncount`: the message did not go out, so it
        takes nothing from the sender's limits; `outcomes`: what the world answered already.
        """
        recipients = min(len(seen.recipients), 65_535)
        head = (habit, went_out, seen.content, recipients, memory.new_recipients, _SUSPEND[suspend], uncount)
        present = b"".join([b"0" if value is None else b"1" for value in seen.traits])
        new = b"".join([b"1" if is_new else b"0" for is_new in memory.new_traits])
        hashes = memory.hashes if habit else ()
        self._write(seen.sender, seen.now, head, evidence, outcomes, (present, new, *hashes))
        if suspicious and seen.fingerprint:
            self._state.later(
                self._mark, _campaign_keys(seen.fingerprint)[::2], [hashed(seen.sender.name), b"", _CAMPAIGN_KEPT]
            )

    def outcome(self, sender: Sender, now: float, outcomes: Outcomes, evidence: Sequence[Evidence]) -> None:
        """Write behind what the world answered at `now` (unix seconds), and what that says."""
        self._write(sender, now, (False, False, 0.0, 0, 0, 0, False), evidence, outcomes, (b"", b""))

    def _write(
        self,
        sender: Sender,
        now: float,
        head: tuple[float, ...],
        evidence: Sequence[Evidence],
        outcomes: Outcomes,
        rest: tuple[bytes, ...],
    ) -> None:
        who = (now, keeper_of(sender), self.half_life)
        packed = _HEAD.pack(*who, *head, len(evidence), len(outcomes))
        details = b"".join(
            [
                *[_EVIDENCE.pack(item.slot, item.weight, item.low, item.high) for item in evidence],
                *[_OUTCOME.pack(OUTCOMES.index(outcome), min(count, 65_535)) for outcome, count in outcomes],
            ]
        )
        keys = keys_of(sender)
        self._state.later(self._learn, [*keys[:5], keys.young], [packed, details, *rest])

    def judged(self, fingerprint: int, *, good: bool) -> None:
        """Write behind that a person released (`good`) or confirmed the campaign with this fingerprint."""
        if fingerprint:
            keys = _campaign_keys(fingerprint)[::2]
            self._state.later(self._mark, keys, [b"", b"good" if good else b"bad", _CAMPAIGN_KEPT])

    async def pardon(self, sender: str, account: str, now: float, *, mistake: bool) -> None:
        """Forget the suspicion against a sender (and its account) and lift the suspension. Raises StateDown."""
        one, all_ = b"p:{%b}:%b" % (account.encode(), sender.encode()), b"p:{%b}" % account.encode()
        await self._state.call(self._pardon, [one], [repr(now), 1 if mistake else 0])
        # A mistake about one mailbox says nothing about the others of the account.
        await self._state.call(self._pardon, [all_], [repr(now), 0])


def script_text(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _campaign_keys(fingerprint: int) -> list[bytes]:
    tag = b"{%x}" % fingerprint
    return [b"c:" + tag, b"cs:" + tag, b"ch:" + tag]
