"""The product at part of its load for a long time, with a fault a minute; then every message is counted, and what grew.

    python -m tests.outage.soak [--minutes M] [--load SHARE] [--seed N]      by default 60 minutes at 0.3 of what it can

First it is measured how much mail it takes from ten senders without a pause; then they rest between messages. Each
minute something goes wrong for 15 s (tests/outage/faults.py; nothing that starts processes anew, which would hide what
they gather). In the quiet part of each minute it is noted what every process holds, and how many files lie in data_dir.
At the end nothing may be lost or changed, and everything must be flat (tests/outage/flatness.py says what that means).

The disk is made for the time asked: each message leaves some 2.6 kB in the ledger, which is not emptied for days.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.loadclient import Mail, mail, reconcile
from tests.outage.chaos import MOST_DUPLICATED
from tests.outage.faults import FAULTS, House, small_disk
from tests.outage.flatness import Samples, look, not_at_rest, not_flat
from tests.product import Hops, until

LEFT_OUT = ("rolling-restart", "restarts", "clock-jumps")
_FAULT = 15.0
_MEASURED = 20.0
"""Seconds in which it is found out what it can take."""
_EVERY = 3.0
"""Seconds between two looks at the processes, in the quiet part of a minute."""
_JUDGED = 30.0
"""Minutes that a run must last for its growth to be judged: in the first quarter of an hour caches fill."""
_LATEST = 180.0
_ROOM = 400, 80
"""MB of the disk, and for each minute: one that runs full by itself would be a fault without an end."""


class SoakHouse(House):
    """Small messages: all that was sent is kept until it is counted."""

    def _mail(self, key: str) -> Mail:
        rng = self._letters
        return mail(key, f"sender{rng.randrange(400)}@customer.test", [f"one-{key}@there.test"], 400, rng)


def quiet(house: House, until_: float, began: float, samples: Samples) -> None:
    """Look at the processes until the minute is over."""
    while True:
        look(house.product, (time.monotonic() - began) / 60, samples)
        if time.monotonic() + _EVERY > until_:
            break
        time.sleep(_EVERY)


def run(house: House, minutes: float, share: float, seed: int, *, faults: Sequence[str]) -> list[str]:
    """The whole time; what went wrong."""
    rng, met = random.Random(seed), 0
    samples = Samples()
    house.hops.call(house.load.start())
    try:
        until(lambda: len(house.load.answered) > 50, house.product.said, _LATEST)
        before = len(house.load.answered)
        time.sleep(_MEASURED)
        rate = (len(house.load.answered) - before) / _MEASURED
        house.load.pause = house.load.number / rate * (1 / share - 1)
        print(f"{rate:.0f} messages a second without a pause; from now on {share:.0%} of that", flush=True)
        began, names = time.monotonic(), list[str]()
        while (minute := (time.monotonic() - began) / 60) < minutes:
            names = names or rng.sample(list(faults), len(faults))
            name = names.pop()
            before = len(house.load.answered)
            seen = FAULTS[name](house)
            met += 1
            until(house.straight, house.told, _LATEST)
            until(lambda: house.product.get("/readyz")[0] == 200, house.product.said, _LATEST)
            quiet(house, began + (minute + 1) * 60, began, samples)
            print(f"{minute:6.1f} min  {name:<18}{len(house.load.answered) - before:>8} answered  {seen}", flush=True)
        house.load.pause = 0.0
        answered = house.hops.call(house.load.finish(), _LATEST).values()
    except BaseException:
        house.hops.call(house.load.cancel())
        raise
    spool = house.product.data / "spool"
    left = [spool / "incoming", spool / "queue", spool / "held"]
    until(lambda: not any(any(state.iterdir()) for state in left), "all is delivered", _LATEST)
    account = reconcile(answered, [message for hop in house.nexts for message in hop.messages])
    print(
        f"{account.messages} messages, {len(account.lost)} lost, {len(account.corrupted)} corrupted, "
        f"{account.duplicated.total()} duplicated, {met} faults"
    )
    wrong = [f"lost: {one}" for one in account.lost] + [f"corrupted: {one}" for one in account.corrupted]
    if account.duplicated.total() > MOST_DUPLICATED * met:
        wrong.append(f"{account.duplicated.total()} duplicated, more than {MOST_DUPLICATED * met}")
    if restarts := house.product.metric("restarts_total"):
        wrong.append(f"{restarts:g} processes ended unasked")
    wrong += [f"unforeseen: {house.product.said()}"] if "Traceback" in house.product.said() else []
    wrong += not_at_rest(house.product, samples)
    growing = not_flat(samples)
    if minutes < _JUDGED:
        print(f"growth is not judged: for that a run must last {_JUDGED:.0f} minutes")
        return wrong
    return wrong + growing


def main() -> int:
    """The command line; the exit code says whether all is well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--load", type=float, default=0.3, help="share of what it can take")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    arguments = parser.parse_args()
    print(f"{arguments.minutes:g} minutes, seed {arguments.seed}", flush=True)
    room = f"{_ROOM[0] + _ROOM[1] * arguments.minutes:.0f}m"
    with tempfile.TemporaryDirectory(prefix="soak-") as name, small_disk(Path(name), room) as mounted, Hops() as hops:
        faults = [one for one in FAULTS if one not in LEFT_OUT and (mounted or one != "disk-full")]
        house = SoakHouse(Path(name), hops, _FAULT, 0)
        with house.product:
            wrong = run(house, arguments.minutes, arguments.load, arguments.seed, faults=faults)
    for one in wrong:
        print(f"FAILED  {one}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
