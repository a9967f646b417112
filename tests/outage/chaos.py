"""Kill processes of the product with SIGKILL while mail flows, and count what has become of every single message.

    python -m tests.outage.chaos [KILLS [SEED]]       100 kills by default; the seed makes the order of kills repeatable

Ten senders offer mail of several kinds without a pause. There are two next hops: one of them comes and goes, now and
then both are away, some recipients are deferred at first, some are refused for good, and one sender's mail beyond its
limit is held for a second. Meanwhile a random process is killed: a relay, the delivery process, the console, the state
server, the supervisor alone, or everything at once (it is then started again, as a service manager would).

At the end nothing that was answered 250 may be missing or changed, and of recipients that were refused the sender must
have been told. Some messages arrive twice: whoever is killed between the next hop's answer and his own has to do it
again. That is counted, by message and recipient.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from bisect import bisect
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.loadclient import Account, Load, Mail, mail, reconcile
from tests.nexthop import NextHop
from tests.product import LENIENT, Hops, Product, until

MOST_DUPLICATED = 5
"""Deliveries too many for each kill, on average, that are put up with."""
VICTIMS = {"relay": 40, "delivery": 20, "console": 8, "state": 12, "supervisor": 10, "everything": 10}
"""How often each is killed, in percent."""
POLICY = f"""
{LENIENT}
[hold]
wait = 1.0
[limit]
action = "hold"
[limit.sender]
messages_per_minute = 20
recipients_per_hour = 0
recipients_per_day = 0
[limit.account]
recipients_per_hour = 0
recipients_per_day = 0
"""
_LATEST = 120.0
"""Seconds after the last kill until everything must have arrived."""


class FlappingHop(NextHop):
    """A next hop that can be away without having broken a promise: it takes nothing new, and ends what it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.arrivals: list[float] = []
        self._met: set[str] = set()

    def take(self, place: str, line: str) -> tuple[str | bytes, float] | None:
        """As the test says, else by who is asked for."""
        if place == ".":
            self.arrivals.append(time.monotonic())
        if self.away and place in ("CONNECT", "MAIL"):
            return "421 4.3.2 away", 0.0
        if place == "RCPT" and "<gone-" in line:
            return "550 5.1.1 no such mailbox", 0.0
        if place == "RCPT" and "<later-" in line and line not in self._met:
            self._met.add(line)
            return "451 4.7.1 not at first", 0.0
        return super().take(place, line)


@dataclass
class Outcome:
    """What a run has come to."""

    kills: Counter[str] = field(default_factory=Counter)
    account: Account = field(default_factory=Account)
    seconds: float = 0.0
    again: int = 0
    """Messages that were offered more than once."""
    held: int = 0
    queued: int = 0
    longest: float = 0.0
    after: str = ""
    """By who was killed last: deliveries too many, and the most after one kill."""
    tracebacks: str = ""
    """What the product wrote to standard error, if there is a traceback in it: nobody may fail in an unforeseen way."""

    @property
    def duplicated(self) -> int:
        """Deliveries too many."""
        return self.account.duplicated.total()

    @property
    def failures(self) -> list[str]:
        """What must not be."""
        account, most = self.account, MOST_DUPLICATED * self.kills.total()
        found = [f"lost: {one}" for one in account.lost] + [f"corrupted: {one}" for one in account.corrupted]
        found += [f"the sender was not told: {one}" for one in account.unreported]
        found += [f"unforeseen: {self.tracebacks}"] if self.tracebacks else []
        return found + ([f"{self.duplicated} duplicated, more than {most}"] if self.duplicated > most else [])

    def table(self) -> str:
        """For people."""
        account, kills = self.account, self.kills.total()
        rows = {
            "kills": f"{kills} ({', '.join(f'{name} {number}' for name, number in sorted(self.kills.items()))})",
            "messages answered": f"{account.messages}, {self.again} of them offered more than once",
            "deliveries due": f"{account.deliveries}",
            "on the way": f"{self.queued} went through the queue, {self.held} were held for a time",
            "lost": str(len(account.lost)),
            "corrupted": str(len(account.corrupted)),
            "refused, sender not told": str(len(account.unreported)),
            "duplicated": f"{self.duplicated}, {self.duplicated / max(1, kills):.2f} a kill; {self.after}",
            "longest answer": f"{self.longest:.1f} s",
            "took": f"{self.seconds:.0f} s",
        }
        return "\n".join(f"{name:<26}{value}" for name, value in rows.items())


class Chaos:
    """One run."""

    def __init__(self, folder: Path, hops: Hops, seed: int) -> None:
        self._rng = random.Random(seed)
        self._hops = hops
        self.nexts = [FlappingHop(), FlappingHop()]
        for hop in self.nexts:
            hops.start(hop)
        self.product = Product.made(folder, smarthosts=[hop.address for hop in self.nexts], policy=POLICY)
        self._letters = random.Random(seed + 1)
        self.load = Load(lambda: self.product.address, self._mail, senders=10)
        self._killed: list[tuple[float, str]] = []

    def _mail(self, key: str) -> Mail:
        """Mostly one recipient at a sender of its own; the kinds that need the queue, or a hold, in between."""
        rng = self._letters
        kind = rng.choices(("plain", "two", "later", "gone", "held"), (60, 10, 10, 10, 10))[0]
        to = {
            "plain": [f"one-{key}@there.test"],
            "two": [f"one-{key}@there.test", f"two-{key}@elsewhere.test"],
            "later": [f"later-{key}@there.test", f"one-{key}@there.test"],
            "gone": [f"one-{key}@there.test", f"gone-{key}@there.test"],
            "held": [f"held-{key}@there.test"],
        }[kind]
        sender = "bulk@limited.test" if kind == "held" else f"sender{rng.randrange(400)}@customer.test"
        return mail(key, sender, to, rng.choice((500, 3000, 20_000)), rng)

    def run(self, kills: int) -> Outcome:
        """Kill so many times, let everything arrive, and count."""
        began = time.monotonic()
        outcome = Outcome()
        with self.product:
            self._hops.call(self.load.start())
            try:
                for number in range(kills):
                    self._some_mail()
                    self._weather(number)
                    self._kill(outcome.kills)
                self._some_mail()
                for hop in self.nexts:
                    hop.away = False
                answered = self._hops.call(self.load.finish(), _LATEST).values()
            except BaseException:
                self._hops.call(self.load.cancel())
                raise
            until(self._at_rest, self._left, _LATEST)
        outcome.account = reconcile(answered, [message for hop in self.nexts for message in hop.messages])
        outcome.again = sum(one.tries > 1 for one in answered)
        outcome.held = sum("held for review" in one.reply for one in answered)
        outcome.queued = sum("queued as TEST" not in one.reply for one in answered) - outcome.held
        outcome.longest = max(one.longest for one in answered)
        outcome.after = self._after()
        outcome.tracebacks = self.product.said() if "Traceback" in self.product.said() else ""
        outcome.seconds = time.monotonic() - began
        return outcome

    def _after(self) -> str:
        """After whose death deliveries came once more: how many, and the most between one kill and the next."""
        seen: set[tuple[str, str]] = set()
        after: Counter[int] = Counter()
        times = [at for at, _ in self._killed]
        arrived = [(at, message) for hop in self.nexts for at, message in zip(hop.arrivals, hop.messages, strict=True)]
        for at, message in sorted(arrived, key=lambda one: one[0]):
            subject = message.content.partition(b"\r\nSubject: ")[2].partition(b"\r\n")[0].decode()
            for delivery in ((subject, recipient) for recipient in message.recipients if message.mail_from):
                after[bisect(times, at)] += delivery in seen
                seen.add(delivery)
        by: dict[str, list[int]] = {}
        for number, often in after.items():
            by.setdefault(self._killed[number - 1][1] if number else "nobody", []).append(often)
        return ", ".join(f"{victim} {sum(often)} (at most {max(often)})" for victim, often in sorted(by.items()))

    def _some_mail(self) -> None:
        """Wait until some more messages have been answered: the next kill must hit a product that works."""
        wanted = len(self.load.answered) + self._rng.randint(10, 60)
        until(lambda: len(self.load.answered) >= wanted, self.product.said, 60)

    def _weather(self, number: int) -> None:
        """The second next hop comes and goes; now and then both are away."""
        self.nexts[1].away = self._rng.random() < 0.4
        self.nexts[0].away = number % 10 == 5

    def _kill(self, kills: Counter[str]) -> None:
        victim = self._rng.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        kills[victim] += 1
        # Anywhere in what it does, not only where it waits for us.
        time.sleep(self._rng.random() * 0.05)
        self._killed.append((time.monotonic(), victim))
        if victim == "everything":
            self.product.kill_everything()
            self.product.start()
        elif victim == "supervisor":
            self.product.kill_supervisor()
            self.product.start()
        else:
            slot = f"relay-{self._rng.randrange(2)}" if victim == "relay" else victim
            self.product.kill(slot if victim in ("relay", "state") else f"{victim}-0")

    def _at_rest(self) -> bool:
        return not self._left()

    def _left(self) -> list[str]:
        """Files of messages that have not arrived."""
        spool = self.product.data / "spool"
        return [str(file) for state in ("incoming", "queue", "held") for file in (spool / state).iterdir()]


def chaos(folder: Path, kills: int, seed: int) -> Outcome:
    """One run in `folder`."""
    with Hops() as hops:
        return Chaos(folder, hops, seed).run(kills)


def main() -> int:
    """The command line; the exit code says whether all is well."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1_000_000)
    print(f"{kills} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        outcome = chaos(Path(folder), kills, seed)
    print(outcome.table())
    for failure in outcome.failures:
        print(f"FAILED  {failure}")
    return bool(outcome.failures)


if __name__ == "__main__":
    sys.exit(main())
