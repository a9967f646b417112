"""Does a process hold more and more? What is noted of it, and how that is judged.

Caches fill, and allocators keep room that was needed once; both end. So the second half of a run is judged. It is cut
into ten stretches, and the lowest value of each is taken: what is under way at a moment comes and goes, what is never
given back raises the floor too. Through these ten goes a straight line (least squares), whose slope has a confidence
interval (95 %, Student's t with 8 degrees of freedom). With the limit that is put up with in an hour there are three
answers:

    flat      the whole interval lies below the limit
    grows     the whole interval lies above it
    unclear   the limit lies within: this run cannot tell, a longer one may

Only `flat` is good: what a run has not shown must not be said of it.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.product import Product, until

LIMITS = {"memory": (0.05, 4096.0), "files": (0.05, 4.0), "threads": (0.05, 4.0), "entries": (0.05, 20.0)}
"""What growth in an hour is put up with: a share of what there is, and at least so many kB, open files, threads, or
entries of a folder, where a segment or message more or less is chance."""
NOT_JUDGED = {("state", "memory"): "it remembers each text for days, up to state.maxmemory; a fault empties it"}
"""What grows by its nature, with the reason."""
_STRETCHES = 10
_T = 2.306
"""Student's t for 95 % (two-sided) with _STRETCHES - 2 degrees of freedom."""
_OVER = 4
"""Files that may be open at the end beyond what was once enough: a connection to SQL has three."""
_REST = 90.0
"""Seconds until connections that nobody uses are closed."""
_FOLDERS = (
    "incoming",
    "journal",
    "run",
    "state",
    "spool/incoming",
    "spool/queue",
    "spool/progress",
    "spool/tmp",
    "spool/corrupt",
)
"""Of data_dir: what lies there is on its way. Held and quarantined mail stays as long as it is to."""
_EMPTY = ("incoming", "journal/rejected", "spool/incoming", "spool/progress", "spool/tmp", "spool/corrupt")

Key = tuple[str, int, str]
"""Slot (or folder), process (or 0) and what."""


class Samples(defaultdict[Key, list[tuple[float, float]]]):
    """What was noted: (minutes, kB or number)."""

    def __init__(self) -> None:
        super().__init__(list)


def look(product: Product, minute: float, samples: Samples) -> None:
    """Note what every process holds, and how many files lie in data_dir."""
    for slot, pid in {**product.processes(), "supervisor": product.pid}.items():
        with contextlib.suppress(OSError):
            for what, value in held(pid).items():
                samples[slot, pid, what].append((minute, value))
    for folder in _FOLDERS:
        with contextlib.suppress(OSError):
            samples[f"{folder}/", 0, "entries"].append((minute, float(len(os.listdir(product.data / folder)))))


def held(pid: int) -> dict[str, float]:
    """What a process holds now. Raises OSError.

    Memory is what it has asked for itself, in kB: its share (PSS) without the files that it has mapped, of which other
    programs on the machine may have a part. Sockets are counted apart from files: they come and go with the mail.
    """
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = dict(re.findall(r"^(Pss|Pss_File):\s+(\d+) kB", rollup, re.M))
    sockets = files = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                sockets += 1
            else:
                files += 1
    return {
        "memory": float(found["Pss"]) - float(found["Pss_File"]),
        "files": float(files),
        "sockets": float(sockets),
        "threads": float(len(os.listdir(f"/proc/{pid}/task"))),
    }


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Mean of the floors, their growth an hour, and how far that may be off (95 %; infinite: nobody can say)."""
    begin, width = points[0][0], (points[-1][0] - points[0][0]) / _STRETCHES
    floors: dict[int, tuple[float, float]] = {}
    for x, y in points:
        stretch = min(int((x - begin) / width), _STRETCHES - 1) if width else 0
        if stretch not in floors or y < floors[stretch][1]:
            floors[stretch] = x / 60, y
    number = len(floors)
    mean_x, mean_y = (sum(column) / number for column in zip(*floors.values(), strict=True))
    if number < _STRETCHES:
        return mean_y, 0.0, math.inf
    spread = sum((x - mean_x) ** 2 for x, _ in floors.values())
    growth = sum((x - mean_x) * (y - mean_y) for x, y in floors.values()) / spread
    rest = sum((y - mean_y - growth * (x - mean_x)) ** 2 for x, y in floors.values())
    return mean_y, growth, _T * math.sqrt(rest / (number - 2) / spread)


def verdict(what: str, mean: float, growth: float, error: float) -> str:
    """One of the three answers; see above."""
    share, least = LIMITS[what]
    limit = max(share * mean, least)
    return "flat" if growth + error <= limit else "grows" if growth - error > limit else "unclear"


def not_flat(samples: Samples) -> list[str]:
    """Print how everything went; what is not flat, each in a sentence."""
    wrong = []
    end = max((points[-1][0] for points in samples.values()), default=0.0)
    print(f"{'':<18}{'':<9}{'mean':>10}{'growth an hour: first half':>28}{'second half':>14}{'+-':>9}")
    for (slot, _, what), points in sorted(samples.items()):
        early, late = ([point for point in points if (point[0] > end / 2) == half] for half in (False, True))
        if not early or not late:
            continue
        _, before, _ = slope(early)
        mean, growth, error = slope(late)
        said = ""
        if (slot, what) in NOT_JUDGED:
            said = f"not judged: {NOT_JUDGED[slot, what]}"
        elif what in LIMITS:
            said = verdict(what, mean, growth, error)
            if said != "flat":
                wrong.append(f"{slot}: {what} {said}: {growth:.1f} +- {error:.1f} an hour, mean {mean:.0f}")
        if what == "memory" or growth or before or said not in ("", "flat"):
            print(f"{slot:<18}{what:<9}{mean:>10.0f}{before:>28.1f}{growth:>14.1f}{error:>9.1f}  {said}")
    return wrong


def not_at_rest(product: Product, samples: Samples) -> list[str]:
    """What is left when all mail is delivered and its connections are closed, each in a sentence.

    No process may have more files or sockets open than were once enough while mail flowed, and nothing may lie about.
    """
    enough = {
        (slot, what): min(value for _, value in points) + _OVER
        for (slot, pid, what), points in samples.items()
        if pid and what in ("files", "sockets")
    }

    def left() -> list[str]:
        found = []
        for slot, pid in {**product.processes(), "supervisor": product.pid}.items():
            now = held(pid)
            found += [
                f"{slot}: {now[what]:.0f} {what} are open at the end, {enough[slot, what] - _OVER:.0f} were once enough"
                for what in ("files", "sockets")
                if now[what] > enough.get((slot, what), math.inf)
            ]
        for folder in _EMPTY:
            with contextlib.suppress(FileNotFoundError):
                found += [f"left behind: {folder}/{name}" for name in os.listdir(product.data / folder)]
        return found

    with contextlib.suppress(AssertionError):
        until(lambda: not left(), seconds=_REST)
    return left()
