"""Processor time and memory of process trees, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> list[str]:
    """The fields after the name, so that a name with blanks does no harm: [0] state, [1] parent, [11:15] times."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """`root` and every living process below it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        if Path(f"/proc/{pid}").exists():
            found.append(pid)
            todo += children.get(pid, [])
    return found


def disjoint_trees(roots: dict[str, int]) -> dict[str, list[int]]:
    """The tree of each root; what lies below another, deeper root is counted there only."""
    trees = {name: set(tree(pid)) for name, pid in roots.items()}
    result = {}
    for name, pids in trees.items():
        inner = [trees[other] for other, pid in roots.items() if other != name and pid in pids]
        result[name] = sorted(pids.difference(*inner))
    return result


def command(pid: int) -> list[str]:
    """The command line of a process; empty when it has gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")
    return []


def cpu_ms(pids: Iterable[int]) -> float:
    """User and system time of the processes and of their reaped children, in ms."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += sum(int(field) for field in _stat(pid)[11:15])
    return total * _TICK_MS


def rss_mb(pids: Iterable[int]) -> float:
    """Resident memory of the processes in MB; shared pages count in each."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * _PAGE / 1e6


def pss_mb(pids: Iterable[int]) -> float:
    """Memory of the processes in MB; a page that several of them share counts once among all that have it."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total * 1024 / 1e6
