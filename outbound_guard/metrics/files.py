"""prometheus_client's multiprocess files: one for each kind of metric and slot, added up when they are read.

The library's own values take 1.5 us an update and name their files after the process. Written here directly, once a
second, they cost nothing on the hot path and a process that is started again goes on with its slot's figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.utils import floatToGoString

from outbound_guard.metrics.table import METRICS, PREFIX

_FILE_SIZE = 524_288
"""Octets of one file. They are written out beforehand: a full disk must show as an error, never as a SIGBUS."""

# The library's annotations stop short of these.
_Values: Any = MmapedDict
_mark_dead: Any = mark_process_dead
_Collector: Any = MultiProcessCollector

Series = tuple[str, ...]
"""The metric's name and the values of its labels."""


class File:
    """One file, made at its full size and never grown; one process writes it."""

    def __init__(self, folder: Path, kind: str, slot: str) -> None:
        """Open the file of `kind` (as in the table) for `slot`. Raises OSError."""
        path = folder / f"{kind if kind in ('counter', 'histogram') else f'gauge_{kind}'}_{slot}.db"
        if not path.exists():
            part = path.with_suffix(".new")
            try:
                part.write_bytes(bytes(_FILE_SIZE))
                part.rename(path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
        self._values = _Values(str(path))
        self._known = {key for key, _, _ in self._values.read_all_values()}
        self._used = 8 + sum(map(_room, self._known))
        self._keys: dict[tuple[Series, str], str] = {}

    def add(self, series: Series, suffix: str, growth: float) -> bool:
        """Add to a value; False if the file is full."""
        key = self._key(series, suffix)
        if key:
            self._values.write_value(key, self._values.read_value(key)[0] + growth, 0.0)
        return bool(key)

    def set(self, series: Series, value: float, now: float) -> None:
        """Set a value as of `now` (unix seconds); it is left out if the file is full."""
        key = self._key(series, "")
        if key:
            self._values.write_value(key, value, now)

    def close(self) -> None:
        """Close the file."""
        self._values.close()

    def _key(self, series: Series, suffix: str) -> str:
        """The key under which a series stands, or "" if there is no room for it."""
        key = self._keys.get((series, suffix))
        if key is None:
            key = _key(series, suffix)
            if key not in self._known:
                if self._used + _room(key) > _FILE_SIZE:
                    return ""
                self._used += _room(key)
                self._known.add(key)
            self._keys[series, suffix] = key
        return key


def _key(series: Series, suffix: str) -> str:
    """The key of a series as prometheus_client's collector reads it. Of a bucket, the last value is its bound."""
    metric = METRICS[series[0]]
    name = PREFIX + metric.name
    labels = [*metric.labels, "le"] if suffix == "_bucket" else list(metric.labels)
    return mmap_key(name.removesuffix("_total"), name + suffix, labels, list(series[1:]), metric.help)


def _room(key: str) -> int:
    """Octets an entry takes at most: length, key padded to a multiple of eight, value, time."""
    return 4 + len(key.encode()) + 8 + 16


def bound_labels(bounds: tuple[float, ...]) -> list[str]:
    """The values of a histogram's label `le`."""
    return [*map(floatToGoString, bounds), "+Inf"]


def forget(folder: Path, slot: str) -> None:
    """Take the gauges of a process that has ended out of the sums; its counters stay."""
    _mark_dead(slot, str(folder))


def exposition(folder: Path) -> bytes:
    """The figures of all processes together, in Prometheus' text format."""
    registry = CollectorRegistry()
    _Collector(registry, str(folder))
    return generate_latest(registry)


def values(folder: Path) -> dict[Series, float]:
    """The gauges and counters of all processes together, by name (without its prefix) and labels."""
    registry = CollectorRegistry()
    _Collector(registry, str(folder))
    found: dict[Series, float] = {}
    for family in registry.collect():
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            if name in METRICS:
                found[(name, *(sample.labels[label] for label in METRICS[name].labels))] = sample.value
    return found
