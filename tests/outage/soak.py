"""The product at part of its load for a long time, with a fault a minute; then every message is counted, and what grew.

    python -m tests.outage.soak [--minutes M] [--load SHARE] [--seed N]      by default 60 minutes at 0.3 of what it can

First it is measured how much mail it takes from ten senders without a pause; then they rest between messages. Each
minute something goes wrong for 15 s (tests/outage/faults.py; nothing that starts processes anew, which would hide what
they gather). In the quiet part of each minute memory (PSS) and open files of every process are noted. At the end
nothing may be lost or changed, and neither memory nor files may have grown, beyond what chance explains.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.loadclient import Mail, mail, reconcile
from tests.outage.chaos import MOST_DUPLICATED
from tests.outage.faults import FAULTS, House, small_disk
from tests.product import Hops, Product, until

LEFT_OUT = ("rolling-restart", "restarts", "clock-jumps")
_FAULT = 15.0
_MEASURED = 20.0
"""Seconds in which it is found out what it can take."""
_EVERY = 3.0
"""Seconds between two looks at the processes, in the quiet part of a minute."""
_WARM_UP = 0.25
"""Of the time: caches fill, allocators settle."""
_JUDGED = 30.0
"""Minutes that a run must last for its growth to be judged: in the first quarter of an hour caches fill."""
GROWTH = {"memory": (0.05, 4096.0), "files": (0.05, 4.0)}
"""What growth in an hour is put up with: a share of what there is, and at least so many kB, or files."""
_LATEST = 180.0

Samples = dict[tuple[str, int, str], list[tuple[float, float]]]
"""By slot, process and what: (minutes, kB or number)."""


class SoakHouse(House):
    """Small messages: all that was sent is kept until it is counted."""

    def _mail(self, key: str) -> Mail:
        rng = self._letters
        return mail(key, f"sender{rng.randrange(400)}@customer.test", [f"one-{key}@there.test"], 400, rng)


def look(product: Product, minute: float, samples: Samples) -> None:
    """Note memory and open files of every process."""
    for slot, pid in {**product.processes(), "supervisor": product.pid}.items():
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            files = len(os.listdir(f"/proc/{pid}/fd"))
            found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)
            assert found
            samples[slot, pid, "memory"].append((minute, float(found[1])))
            samples[slot, pid, "files"].append((minute, float(files)))


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Mean, growth a minute by least squares, and its standard error (points near each other are not independent:
    the error is that of the means of ten groups)."""
    size = max(1, len(points) // 10)
    groups = [points[start : start + size] for start in range(0, len(points) - size + 1, size)]
    means = [(sum(x for x, _ in some) / len(some), sum(y for _, y in some) / len(some)) for some in groups]
    number = len(means)
    mean_x, mean_y = sum(x for x, _ in means) / number, sum(y for _, y in means) / number
    spread = sum((x - mean_x) ** 2 for x, _ in means)
    if number < 3 or not spread:
        return mean_y, 0.0, math.inf
    growth = sum((x - mean_x) * (y - mean_y) for x, y in means) / spread
    rest = sum((y - mean_y - growth * (x - mean_x)) ** 2 for x, y in means)
    return mean_y, growth, math.sqrt(rest / (number - 2) / spread)


def grown(samples: Samples, minutes: float) -> list[str]:
    """What has grown more than is put up with, and more than chance explains (two standard errors)."""
    wrong = []
    print(f"{'process':<14}{'what':<8}{'mean':>12}{'growth an hour':>18}{'+-':>10}")
    for (slot, _, what), points in sorted(samples.items()):
        later = [point for point in points if point[0] >= minutes * _WARM_UP]
        if len(later) < 10:
            continue
        mean, growth, error = slope(later)
        share, least = GROWTH[what]
        print(f"{slot:<14}{what:<8}{mean:>12.0f}{growth * 60:>18.1f}{2 * error * 60:>10.1f}")
        if (growth - 2 * error) * 60 > max(share * mean, least):
            wrong.append(f"{slot}: {what} grows by {growth * 60:.0f} an hour, mean {mean:.0f}")
    return wrong


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
    samples: Samples = defaultdict(list)
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
            until(house.straight, house.product.said, _LATEST)
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
    growing = grown(samples, minutes)
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
    with tempfile.TemporaryDirectory(prefix="soak-") as name, small_disk(Path(name)) as mounted, Hops() as hops:
        faults = [one for one in FAULTS if one not in LEFT_OUT and (mounted or one != "disk-full")]
        house = SoakHouse(Path(name), hops, _FAULT, 0)
        with house.product:
            wrong = run(house, arguments.minutes, arguments.load, arguments.seed, faults=faults)
    for one in wrong:
        print(f"FAILED  {one}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
