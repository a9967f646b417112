"""What a sender costs in Redis: octets of memory for each that is active, and for each text that is remembered.

    python -m benchmarks.state [--senders 3000] [--days 30] [--program valkey-server]

A state server of its own is filled by the product's own memory (`recall`, `learn`), in virtual time: accounts with
three mailboxes each, every one of which writes some messages a day, from one or two networks, to a circle of
recipients that grows slowly. What the server says it uses is read before and after, and by kind of key.
The texts are told apart: first nobody's is looked at, then every message has one of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outbound_guard.loops import loop_factory
from outbound_guard.mail import Sender
from outbound_guard.reputation import TRAITS, Observation, Reputation
from outbound_guard.reputation.keys import record_of
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer

DAY = 86_400.0
BEGIN = 1.8e9
KINDS = (
    # Name, share of the senders, messages a day, recipients it knows in the end.
    ("quiet", 0.6, 2, 20),
    ("busy", 0.3, 10, 80),
    ("large", 0.1, 40, 400),
)
AT_ONCE = 300
_CIRCLE = ("network", "from", "name", "software", "zone", "language", "charset", "hours")
"""Traits that a mailbox's mail has."""


class Mailbox:
    """One sender and its ways."""

    def __init__(self, number: int, rng: random.Random) -> None:
        account = f"customer{number // 3}.example.net"
        (self.kind, _, self.messages, self.circle), *_ = rng.choices(KINDS, [kind[1] for kind in KINDS])
        self.sender = Sender(account, f"mailbox{number % 3}@{account}", "mailbox", "sasl", client_ip="192.0.2.7")
        self._number, self._rng = number, rng

    def writes(self, now: float, days: int, day: int, text: int) -> Observation:
        """A message to somebody it knows by now, from one of two networks."""
        known = max(1, self.circle * (day + 1) // days)
        traits = dict.fromkeys(_CIRCLE, f"{self._number}")
        traits["network"] = f"{self._number}.{self._rng.random() < 0.1}"
        traits["hours"] = str(self._rng.randrange(3))
        to = (f"recipient{self._rng.randrange(known)}@there{self._number % 7}.example.org",)
        return Observation(now, self.sender, to, tuple(traits.get(name) for name in TRAITS), fingerprint=text)


def main() -> None:
    """Measure, and print a table in markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.state", description=__doc__)
    parser.add_argument("--senders", type=int, default=3000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--program", type=Path, help="the server; else the one that the product would use")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_measure(options.senders, options.days, options.program))


async def _measure(senders: int, days: int, program: Path | None) -> None:
    rng = random.Random(1)
    mailboxes = [Mailbox(number, rng) for number in range(senders)]
    print(f"{senders} senders of {-(-senders // 3)} accounts, {days} days\n")
    with tempfile.TemporaryDirectory(prefix="og") as folder:
        server = EmbeddedServer(Path(folder), max_memory=8 << 30, persist=False, program=program)
        await server.start()
        try:
            state = await State.connect(server.url, timeout=60.0, count=lambda *_, **__: None)
            memory = Reputation(state)
            # A server that has worked keeps statistics of each command: some 200 kB that are no sender's.
            await _write(memory, mailboxes[:10], 1, days, texts=True)
            await state.command("FLUSHALL")
            empty = await _used(state)
            await _write(memory, mailboxes, days, days, texts=False)
            # What strangers share (all were, on their first day) is kept for a day or two, which have not passed for
            # the server.
            await state.remove([key async for key in state.scan("c*")])
            full = await _used(state)
            print(f"**{(full - empty) / senders:.0f} octets a sender**, its share of the account's included\n")
            await _by_kind(state, mailboxes)
            before, keys = await _used(state), int(await state.command("DBSIZE"))
            await _write(memory, mailboxes, 1, days, texts=True)
            texts = int(await state.command("DBSIZE")) - keys
            print(f"\n{(await _used(state) - before) / texts:.0f} octets for each of {texts} texts that one sent once")
            await state.close()
        finally:
            await server.stop(5.0)


async def _write(memory: Reputation, mailboxes: Sequence[Mailbox], days: int, of: int, *, texts: bool) -> None:
    text = 0
    for day in range(of - days, of):
        for at in range(0, len(mailboxes), AT_ONCE):
            some = mailboxes[at : at + AT_ONCE]
            for turn in range(max(one.messages for one in some)):
                now = BEGIN + day * DAY + turn * 1000.0
                writing = [one for one in some if turn < one.messages]
                seen = [
                    one.writes(now, of, day, (text := text + 1) * 0x9E3779B97F4A7C15 % 2**64 if texts else 0)
                    for one in writing
                ]
                for observed, found in zip(seen, await asyncio.gather(*map(memory.recall, seen)), strict=True):
                    memory.learn(observed, found, [], habit=True, went_out=True, outcomes=[("delivered", 1)])
        await memory.state.flush()


async def _used(state: State) -> int:
    """Octets that the server uses, less what it keeps for its connections."""
    said = (await state.command("INFO", "memory")).decode()
    numbers = dict(line.split(":", 1) for line in said.split() if ":" in line)
    return int(numbers["used_memory"]) - int(numbers["mem_clients_normal"])


async def _by_kind(state: State, mailboxes: Sequence[Mailbox]) -> None:
    octets: dict[str, Counter[str]] = defaultdict(Counter)
    kinds = Counter(one.kind for one in mailboxes)
    kind_of = {key[1:]: one.kind for one in mailboxes for key in [record_of(one.sender.account, one.sender.name)]}
    async for key in state.scan("*"):
        found: Any = await state.command("MEMORY", "USAGE", key, "SAMPLES", 0)
        octets[kind_of.get(key[1:], "(account)")][key.decode()[:1]] += int(found)
    letters = ("s", "k")
    print("| senders | messages a day | circle | record | known, if apart | all |")
    print("|---|---:|---:|---:|---:|---:|")
    for kind, _, messages, circle in (*KINDS, ("(account)", 0, "", "")):
        number = kinds[kind] or -(-len(mailboxes) // 3)
        each = [octets[kind][letter] / number for letter in letters]
        print(f"| {kind} | {messages} | {circle} | {' | '.join(f'{one:.0f}' for one in each)} | {sum(each):.0f} |")


if __name__ == "__main__":
    main()
