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
from outbound_guard.reputation.keys import hashed, hashed_all, keeper_of, keys_of, tag
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

_STRANGERS_KEPT = 3 * 86_400
"""The same for what strangers share: addresses change hands."""
_RECIPIENTS_KNOWN = 2000
"""Recipients of one message that are looked up and remembered; the rest is only counted."""


_DOMAINS_KNOWN = 20
"""Domains of one message's recipients, likewise."""

# How numbers go into the scripts: packed, which costs a tenth of numbers as text (learn.lua, recall.lua).
_LOOK_UP = struct.Struct("<dBHB")
_HEAD = struct.Struct("<dBdBBBfHHBBBBBB")
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
        self._learn = state.script(lua(record + script_text("learn")))
        self._pardon = state.script(lua(record + script_text("pardon")))
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
        arguments = [_LOOK_UP.pack(seen.now, count, min(len(seen.recipients), 65_535), len(domains)), *hashes]
        try:
            remembering = self._state.start(self._recall, keys, arguments)
            campaign = None
            if seen.fingerprint:
                asking = self._ask(b"%x" % seen.fingerprint, sender.name, _CAMPAIGN_KEPT, count=count)
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
            ) = await remembering
        except StateDown:
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
            hashes=tuple(hashes),
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
        company = (*[(b"~%x" % value, sender.account) for value in sketch], *shared.values())
        try:
            asked = [self._ask(name, member, _STRANGERS_KEPT, count=count) for name, member in company]
            # All are on their way; whichever is awaited first, they come together.
            found = [Company(*await told) for told in asked]
        except StateDown:
            return memory
        near = sorted(found[: len(sketch)], key=lambda company: (company.hot, company.senders))
        return msgspec.structs.replace(
            memory,
            near=near[-2] if len(near) > 1 else None,
            neighbours=dict(zip(shared, found[len(sketch) :], strict=True)),
            company=company,
        )

    def _ask(self, name: bytes, sender: str, keep: int, *, count: bool) -> Future[Any]:
        return self._state.start(self._company, _shared(name), [hashed(sender), b"1" if count else b"0", keep])

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
        present = b"".join([b"0" if value is None else b"1" for value in seen.traits])
        fresh = b"".join([b"1" if is_new else b"0" for is_new in memory.new_traits])
        hashes = memory.hashes if habit else ()
        self._write(seen.sender, seen.now, head, evidence, outcomes, (present, fresh, *hashes))
        if suspicious:
            if seen.fingerprint:
                self._mark_as(b"%x" % seen.fingerprint, hashed(seen.sender.name), b"", _CAMPAIGN_KEPT)
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
        keys = keys_of(sender)
        self._state.later(self._learn, [*keys[:5], keys.young], [packed, details, *rest])

    def judged(self, fingerprint: int, *, good: bool) -> None:
        """Write behind that a person released (`good`) or confirmed the campaign with this fingerprint."""
        if fingerprint:
            self._mark_as(b"%x" % fingerprint, b"", b"good" if good else b"bad", _CAMPAIGN_KEPT)

    def complained(self, fingerprint: int, sender: str) -> None:
        """Write behind that recipients complain of a text as this sender sends it: the two are under suspicion."""
        if fingerprint:
            self._mark_as(b"%x" % fingerprint, hashed(sender), b"", _CAMPAIGN_KEPT)

    def _mark_as(self, name: bytes, sender: bytes, said: bytes, keep: int) -> None:
        self._state.later(self._mark, _shared(name), [sender, said, keep])

    async def pardon(self, sender: str, account: str, now: float, *, mistake: bool) -> None:
        """Forget the suspicion against a sender (and its account) and lift the suspension. Raises StateDown."""
        all_ = b"p:" + tag(account)
        one = b"%b:%b" % (all_, sender.encode())
        await self._state.call(self._pardon, [one], [repr(now), 1 if mistake else 0])
        # A mistake about one mailbox says nothing about the others of the account.
        await self._state.call(self._pardon, [all_], [repr(now), 0])


def script_text(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _shared(name: bytes) -> list[bytes]:
    """The keys of what several may share: a fingerprint, part of a sketch (~), address (@), account (&), server (%)."""
    return [b"c:{%b}" % name, b"ch:{%b}" % name]
