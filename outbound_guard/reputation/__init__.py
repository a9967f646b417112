"""MEMORY: what is known of a sender, an account and a campaign, kept in Redis.

One awaited round trip a message reads and counts (`recall`). What a judgement found, and what the world answered, is
written behind (`learn`, `outcome`). While the store is down nothing is known, nothing is held against anybody, and
mail goes on.
"""

from __future__ import annotations

import struct
from asyncio import Future
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import msgspec

from outbound_guard.mail import Sender, domain_of
from outbound_guard.reputation.keys import hashed, hashed_all, keeper_of, keys_of, record_of
from outbound_guard.reputation.memory import (
    NO_PROFILE,
    NOTHING,
    OUTCOMES,
    SLOTS,
    TRAITS,
    Company,
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
    "Company",
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

_ONCE_KEPT = 36 * 3600
"""The same for what was sent only once, which is most of what there is; what comes daily is still known."""

_STRANGERS_KEPT = 3 * 86_400
"""The same for what strangers share: addresses change hands."""
_RECIPIENTS_KNOWN = 2000
"""Recipients of one message that are looked up and remembered; the rest is only counted."""


_DOMAINS_KNOWN = 20
"""Domains of one message's recipients, likewise."""

# How numbers go into the scripts: packed, which costs a tenth of numbers as text (learn.lua, recall.lua).
_LOOK_UP = struct.Struct("<dBBHB")
_HEAD = struct.Struct("<dBdBBBfHHBBBBBB")
_EVIDENCE = struct.Struct("<Bfff")
_OUTCOME = struct.Struct("<BH")
_COMPANY = struct.Struct("<4sBHII")
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
    server: str = ""
    """The customer's mail server that handed it in, if one did."""
    sketch: Callable[[], Sequence[int]] = tuple
    """Gives the sketch of the text (content.fingerprint.bands), which is made for strangers only."""


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
        known = script_text("known")
        self._learn = state.script(lua(record + known + script_text("learn")))
        self._pardon = state.script(lua(record + known + script_text("pardon")))
        self._company = state.script(script_text("company"))
        self._mark = state.script(script_text("mark"))

    @property
    def state(self) -> State:
        """The store it lies in."""
        return self._state

    async def recall(self, seen: Observation, *, count: bool = True) -> Memory:
        """Read what is known, and unless `count` is False count the message; NOTHING while the store is down.

        One round trip; two for strangers.
        """
        sender = seen.sender
        keys = keys_of(sender)
        texts = ["" if value is None else kind + value for kind, value in zip(TRAITS, seen.traits, strict=True)]
        texts += ["rcpt" + address.lower() for address in seen.recipients[:_RECIPIENTS_KNOWN]]
        domains = list(dict.fromkeys(map(domain_of, seen.recipients)))[:_DOMAINS_KNOWN]
        texts += ["domain" + domain for domain in domains]
        hashes = hashed_all(texts)
        head = _LOOK_UP.pack(seen.now, count, keeper_of(sender), min(len(seen.recipients), 65_535), len(domains))
        try:
            remembering = self._state.start(self._recall, keys, (head, hashes))
            campaign = None
            if seen.fingerprint:
                asking = self._ask(_text(seen.fingerprint), sender.name, seen.now, _CAMPAIGN_KEPT, count=count)
                campaign = Company(*await asking)
            (
                sender_traffic,
                account_traffic,
                profile,
                account,
                new_recipients,
                traits,
                networks,
                new_domains,
                unknown,
            ) = await remembering
        except StateDown as down:
            # Its traceback knows this frame, and the frame the futures that know it: a ring with the message in it.
            down.__traceback__ = None
            return NOTHING
        memory = Memory(
            sender=decode_profile(profile),
            account=decode_profile(account),
            sender_traffic=decode_traffic(sender_traffic),
            account_traffic=decode_traffic(account_traffic),
            keeps="account" if keeper_of(sender) == 2 else "sender",
            recipients=min(len(seen.recipients), _RECIPIENTS_KNOWN),
            new_recipients=new_recipients,
            domains=len(domains),
            new_domains=new_domains,
            new_traits=tuple([letter != 48 for letter in traits]),  # 48: the digit zero.
            first_seen=new_recipients > 0 or b"1" in traits,
            campaign=campaign,
            shows=tuple([value is not None for value in seen.traits]),
            hashes=hashes[: 4 * len(TRAITS)] + unknown,
            networks=networks,
        )
        return await self._with_company(memory, seen, count) if memory.strange(seen.content) else memory

    async def _with_company(self, memory: Memory, seen: Observation, count: bool) -> Memory:
        """The memory of a sender that is strange, with what is known of those who have something in common with it.

        Texts that are nearly the same share at least two hashes of their sketches, so the second best of these says how
        many senders there are.
        """
        sender, sketch = seen.sender, seen.sketch()
        shared = {"account": (b"&" + sender.account.encode(), sender.name)}
        if seen.server:
            shared["server"] = (b"%" + seen.server.encode(), sender.account)
        if sender.client_ip and memory.is_new("network"):
            shared["address"] = (b"@" + sender.client_ip.encode(), sender.account)
        company = (*[(b"~" + value.to_bytes(8), sender.account) for value in sketch], *shared.values())
        try:
            asked = [self._ask(name, member, seen.now, _STRANGERS_KEPT, count=count) for name, member in company]
            # All are on their way; whichever is awaited first, they come together.
            found = [Company(*await told) for told in asked]
        except StateDown as down:
            # As above.
            down.__traceback__ = None
            return memory
        near = sorted(found[: len(sketch)], key=lambda company: (company.hot, company.senders))
        return msgspec.structs.replace(
            memory,
            near=near[-2] if len(near) > 1 else None,
            neighbours=dict(zip(shared, found[len(sketch) :], strict=True)),
            company=company,
        )

    def _ask(self, name: bytes, sender: str, now: float, keep: int, *, count: bool) -> Future[Any]:
        asked = _COMPANY.pack(hashed(sender), count, int(now // 3600) % 65_536, keep, min(keep, _ONCE_KEPT))
        return self._state.start(self._company, (b"c" + name,), (asked,))

    def learn(
        self,
        seen: Observation,
        memory: Memory,
        evidence: Sequence[Evidence],
        *,
        habit: bool,
        went_out: bool = False,
        copy: bool = False,
        suspend: str = "",
        suspicious: bool = False,
        uncount: bool = False,
        outcomes: Outcomes = (),
    ) -> None:
        """Write behind what was found.

        `habit`: the message may become one; `went_out`: its content counts as what the sender writes; `copy`: it
        repeats a text; `suspend`: "", "sender" or "account"; `suspicious`: note it against the campaign and what else
        the sender shares with others; `uncount`: the message did not go out, so it
        takes nothing from the sender's limits; `outcomes`: what the world answered already.
        """
        recipients = min(len(seen.recipients), 65_535)
        new = (recipients, memory.new_recipients, memory.domains, memory.new_domains)
        head = (habit, went_out, copy, seen.content, *new, _SUSPEND[suspend], uncount)
        both = zip(seen.traits, memory.new_traits, strict=True)
        traits = b"".join([b"-" if value is None else b"1" if is_new else b"0" for value, is_new in both])
        self._write(seen.sender, seen.now, head, evidence, outcomes, (traits, memory.hashes if habit else b""))
        if suspicious:
            if seen.fingerprint:
                self._mark_as(_text(seen.fingerprint), hashed(seen.sender.name), b"", _CAMPAIGN_KEPT)
            for name, member in memory.company:
                self._mark_as(name, hashed(member), b"", _STRANGERS_KEPT)

    def outcome(self, sender: Sender, now: float, outcomes: Outcomes, evidence: Sequence[Evidence]) -> None:
        """Write behind what the world answered at `now` (unix seconds), and what that says."""
        self._write(sender, now, (False, False, False, 0.0, 0, 0, 0, 0, 0, False), evidence, outcomes, (b"", b""))

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
        self._state.later(self._learn, keys_of(sender), (packed, details, *rest))

    def judged(self, fingerprint: int, *, good: bool) -> None:
        """Write behind that a person released (`good`) or confirmed the campaign with this fingerprint."""
        if fingerprint:
            self._mark_as(_text(fingerprint), b"", b"good" if good else b"bad", _CAMPAIGN_KEPT)

    def complained(self, fingerprint: int, sender: str) -> None:
        """Write behind that recipients complain of a text as this sender sends it: the two are under suspicion."""
        if fingerprint:
            self._mark_as(_text(fingerprint), hashed(sender), b"", _CAMPAIGN_KEPT)

    def _mark_as(self, name: bytes, sender: bytes, said: bytes, keep: int) -> None:
        self._state.later(self._mark, (b"c" + name,), (sender, said, keep))

    async def pardon(self, sender: str, account: str, now: float, *, mistake: bool) -> None:
        """Forget the suspicion against a sender (and its account) and lift the suspension. Raises StateDown."""
        await self._state.call(self._pardon, [record_of(account, sender)], [repr(now), 1 if mistake else 0])
        # A mistake about one mailbox says nothing about the others of the account.
        await self._state.call(self._pardon, [record_of(account)], [repr(now), 0])


def script_text(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _text(fingerprint: int) -> bytes:
    """The name of a text among what several may share; part of a sketch has ~, address @, account &, server %."""
    return b"=" + fingerprint.to_bytes(8)
