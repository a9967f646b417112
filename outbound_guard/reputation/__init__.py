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

import msgspec

from outbound_guard.mail import Sender, domain_of
from outbound_guard.reputation.keys import NONE, hashed, hashed_all, keeper_of, keys_of, record_of
from outbound_guard.reputation.memory import (
    NO_PROFILE,
    NOTHING,
    OUTCOMES,
    SLOTS,
    TRAITS,
    Company,
    Memory,
    decode_record,
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
_FOUND = struct.Struct("<HHHHB")
_HEAD = struct.Struct("<dBdBBBfHHBBBBBBHH")
_EVIDENCE = struct.Struct("<Bfff")
_OUTCOME = struct.Struct("<BH")
_TEXT = struct.Struct("<4sHII")
_ASKING = struct.Struct("<BH")
_ASKED = struct.Struct("<4sII")
_MARKED = struct.Struct("<4sI")
_COMPANY = struct.Struct("<HHHHI")
_SUSPEND = {"": 0, "sender": 1, "account": 2}
_FLAGS = [tuple([bool(bits >> place & 1) for place in range(len(TRAITS))]) for bits in range(1 << len(TRAITS))]
"""Bits, the lowest for the first trait, as what they say of each trait."""
_BITS = {flags: bits for bits, flags in enumerate(_FLAGS)}


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
        self._recall = state.script(script("record", "company", "recall"))
        self._learn = state.script(script("record", "known", "learn"))
        self._pardon = state.script(script("record", "known", "pardon"))
        self._ask = state.script(script("company", "ask"))
        self._mark = state.script(script("company", "mark"))

    @property
    def state(self) -> State:
        """The store it lies in."""
        return self._state

    async def recall(self, seen: Observation, *, count: bool = True) -> Memory:
        """Read what is known, and unless `count` is False count the message; NOTHING while the store is down.

        One round trip; two for strangers.
        """
        sender, recipients = seen.sender, seen.recipients
        keeper = keeper_of(sender)
        texts = ["" if value is None else kind + value for kind, value in zip(TRAITS, seen.traits, strict=True)]
        texts += ["rcpt" + address.lower() for address in recipients[:_RECIPIENTS_KNOWN]]
        domains = list(dict.fromkeys(map(domain_of, recipients)))[:_DOMAINS_KNOWN]
        texts += ["domain" + domain for domain in domains]
        hashes = hashed_all(texts)
        keys: tuple[bytes, ...] = keys_of(sender)
        args: tuple[bytes, ...] = (
            _LOOK_UP.pack(seen.now, count, keeper, min(len(recipients), 65_535), len(domains)),
            hashes,
        )
        asking = None
        try:
            if seen.fingerprint:
                text = _text(seen.fingerprint)
                if self._state.one_server:
                    keys = (*keys, b"c" + text)
                    args = (*args, _TEXT.pack(hashed(sender.name), _hour(seen.now), _CAMPAIGN_KEPT, _ONCE_KEPT))
                else:
                    asking = self._ask_all(((text, sender.name),), seen.now, _CAMPAIGN_KEPT, count=count)
            remembering = self._state.start(self._recall, keys, args)
            told = await asking[0] if asking else None
            changed, account_changed, record, account_record, numbers, told_too = await remembering
        except StateDown as down:
            # Its traceback knows this frame, and the frame the futures that know it: a ring with the message in it.
            down.__traceback__ = None
            return NOTHING
        never, waiting, new_recipients, new_domains, networks = _FOUND.unpack_from(numbers)
        told = told or told_too
        sender_traffic, profile = decode_record(record, changed)
        account_traffic, account = decode_record(account_record, account_changed)
        memory = Memory(
            sender=profile,
            account=account,
            sender_traffic=sender_traffic,
            account_traffic=account_traffic,
            keeps="account" if keeper == 2 else "sender",
            recipients=min(len(recipients), _RECIPIENTS_KNOWN),
            new_recipients=new_recipients,
            domains=len(domains),
            new_domains=new_domains,
            new_traits=_FLAGS[never | waiting],
            first_seen=never > 0,
            campaign=Company(*_COMPANY.unpack(told)) if told else None,
            shows=tuple([value is not None for value in seen.traits]),
            hashes=hashes[: 4 * len(TRAITS)] + numbers[_FOUND.size :],
            networks=networks,
        )
        return await self._with_company(memory, seen, count) if memory.strange(seen.content) else memory

    async def _with_company(self, memory: Memory, seen: Observation, count: bool) -> Memory:
        """The memory of a sender that is strange, with what is known of those who have something in common with it.

        Texts that are nearly the same share at least two hashes of their sketches, so the second best of these says how
        many senders there are, and how often this one's account has sent one.
        """
        sender, sketch = seen.sender, seen.sketch()
        shared = {"account": (b"&" + sender.account.encode(), sender.name)}
        if seen.server:
            shared["server"] = (b"%" + seen.server.encode(), sender.account)
        if sender.client_ip and memory.is_new("network"):
            shared["address"] = (b"@" + sender.client_ip.encode(), sender.account)
        company = (*[(b"~" + value.to_bytes(8), sender.account) for value in sketch], *shared.values())
        try:
            asked = self._ask_all(company, seen.now, _STRANGERS_KEPT, count=count)
            # All are on their way; whichever is awaited first, they come together.
            told = b"".join([await one for one in asked])
        except StateDown as down:
            # As above.
            down.__traceback__ = None
            return memory
        found = [Company(*one) for one in _COMPANY.iter_unpack(told)]
        near = sorted(found[: len(sketch)], key=lambda company: (company.hot, company.senders))[-2:]
        times = sorted([company.times for company in found[: len(sketch)]])[-2:]
        return msgspec.structs.replace(
            memory,
            near=msgspec.structs.replace(near[0], times=times[0]) if len(near) > 1 else None,
            neighbours=dict(zip(shared, found[len(sketch) :], strict=True)),
            company=company,
        )

    def _ask_all(
        self, company: Sequence[tuple[bytes, str]], now: float, keep: int, *, count: bool
    ) -> list[Future[bytes]]:
        """Ask for each name, and count who asks, in one call, or, where their keys lie apart, in one for each."""
        head, keeping = _ASKING.pack(count, _hour(now)), (keep, min(keep, _ONCE_KEPT))
        asked = [_ASKED.pack(hashed(member), *keeping) for _, member in company]
        keys = [b"c" + name for name, _ in company]
        if self._state.one_server:
            return [self._state.start(self._ask, keys, (head + b"".join(asked),))]
        return [self._state.start(self._ask, (key,), (head + one,)) for key, one in zip(keys, asked, strict=True)]

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
        shown, new_traits, hashes = 0, 0, b""
        if habit:
            shown, new_traits = _BITS[memory.shows], _BITS[memory.new_traits]
            if new_traits or len(memory.hashes) > 4 * len(TRAITS):
                hashes = memory.hashes
        self._write(seen.sender, seen.now, head, evidence, outcomes, (shown, new_traits), hashes)
        if suspicious:
            marked = [(name, member, _STRANGERS_KEPT) for name, member in memory.company]
            if seen.fingerprint:
                marked.append((_text(seen.fingerprint), seen.sender.name, _CAMPAIGN_KEPT))
            self._mark_all(marked)

    def outcome(self, sender: Sender, now: float, outcomes: Outcomes, evidence: Sequence[Evidence]) -> None:
        """Write behind what the world answered at `now` (unix seconds), and what that says."""
        self._write(sender, now, (False, False, False, 0.0, 0, 0, 0, 0, 0, False), evidence, outcomes)

    def _write(
        self,
        sender: Sender,
        now: float,
        head: tuple[float, ...],
        evidence: Sequence[Evidence],
        outcomes: Outcomes,
        traits: tuple[int, int] = (0, 0),
        hashes: bytes = b"",
    ) -> None:
        who = (now, keeper_of(sender), self.half_life)
        packed = _HEAD.pack(*who, *head, len(evidence), len(outcomes), *traits)
        details = b"".join(
            [
                *[_EVIDENCE.pack(item.slot, item.weight, item.low, item.high) for item in evidence],
                *[_OUTCOME.pack(OUTCOMES.index(outcome), min(count, 65_535)) for outcome, count in outcomes],
            ]
        )
        self._state.later(self._learn, keys_of(sender), (packed, details, hashes))

    def judged(self, fingerprint: int, *, good: bool) -> None:
        """Write behind that a person released (`good`) or confirmed the campaign with this fingerprint."""
        if fingerprint:
            self._mark_all([(_text(fingerprint), "", _CAMPAIGN_KEPT)], b"good" if good else b"bad")

    def complained(self, fingerprint: int, sender: str) -> None:
        """Write behind that recipients complain of a text as this sender sends it: the two are under suspicion."""
        if fingerprint:
            self._mark_all([(_text(fingerprint), sender, _CAMPAIGN_KEPT)], b"complaint")

    def _mark_all(self, marked: Sequence[tuple[bytes, str, int]], said: bytes = b"") -> None:
        """Note against names that a member, if one is named, is under suspicion, and what was said; seconds to keep."""
        keys = [b"c" + name for name, _, _ in marked]
        packed = [_MARKED.pack(hashed(member) if member else NONE, keep) for _, member, keep in marked]
        if self._state.one_server and keys:
            self._state.later(self._mark, keys, (said, b"".join(packed)))
            return
        for key, one in zip(keys, packed, strict=True):
            self._state.later(self._mark, (key,), (said, one))

    async def pardon(self, sender: str, account: str, now: float, *, mistake: bool) -> None:
        """Forget the suspicion against a sender (and its account) and lift the suspension. Raises StateDown."""
        await self._state.call(self._pardon, [record_of(account, sender)], [repr(now), 1 if mistake else 0])
        # A mistake about one mailbox says nothing about the others of the account.
        await self._state.call(self._pardon, [record_of(account)], [repr(now), 0])


def script(*names: str) -> str:
    """A script of these files of the package, one behind the other."""
    files = [resources.files(__name__).joinpath(f"{name}.lua") for name in ("list", *names)]
    return lua("".join([file.read_text(encoding="utf-8") for file in files]))


def _hour(now: float) -> int:
    return int(now // 3600) % 65_536


def _text(fingerprint: int) -> bytes:
    """The name of a text among what several may share; part of a sketch has ~, address @, account &, server %."""
    return b"=" + fingerprint.to_bytes(8)
