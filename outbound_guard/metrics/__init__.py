"""Metrics: counted in plain dictionaries on the hot path, handed on to files once a second, served by the supervisor.

The only user of prometheus_client. What there is to count stands in `table`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from pathlib import Path

from outbound_guard.metrics.files import File, Series, bound_labels, exposition, forget, values
from outbound_guard.metrics.server import MetricsServer
from outbound_guard.metrics.table import METRICS, PREFIX, TABLE, Metric, known

__all__ = ["METRICS", "PREFIX", "TABLE", "Metric", "Metrics", "MetricsServer", "exposition", "forget", "values"]

_log = logging.getLogger(__name__)


class Metrics:
    """The figures of one process. Names that are not in the table and wrong numbers of labels raise KeyError."""

    def __init__(self, folder: Path | None = None, slot: str = "") -> None:
        """`folder` (it exists) is for the files; without it the figures stay in memory. `slot` names the process.

        Two processes never use one slot at a time. A slot holds no underscore (ValueError).
        """
        if "_" in slot:
            raise ValueError(f"slot {slot!r} holds an underscore")
        self._folder, self._slot = folder, slot
        # A rate can only be taken of a series that is there before its first event.
        self._counts: dict[Series, float] = {
            (metric.name,): 0 for metric in TABLE if metric.kind == "counter" and not metric.labels
        }
        self._gauges: dict[Series, float] = {}
        self._histograms: dict[Series, _Histogram] = {}
        self._written: dict[tuple[Series, str], float] = {}
        self._files: dict[str, File] = {}
        self._complained = False
        if folder:
            forget(folder, slot)

    def count(self, *series: str, by: float = 1) -> None:
        """Add `by` to a counter: `count(name, *labels)`. The words are the key as they come, for speed."""
        try:
            self._counts[series] += by
        except KeyError:
            known(series[0], series[1:], "counter")
            self._counts[series] = by

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Put a duration into a histogram."""
        try:
            histogram = self._histograms[(name, *labels)]
        except KeyError:
            histogram = _Histogram(known(name, labels, "histogram").bounds)
            self._histograms[(name, *labels)] = histogram
        histogram.buckets[bisect_left(histogram.bounds, seconds)] += 1
        histogram.sum += seconds

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        if (name, *labels) not in self._gauges:
            known(name, labels, "live")
        self._gauges[(name, *labels)] = value

    def clear(self, name: str) -> None:
        """Set a gauge to 0, with all labels that it was ever set with."""
        for series in self._gauges:
            if series[0] == name:
                self._gauges[series] = 0.0

    def value(self, name: str, *labels: str) -> float:
        """What this process has counted or set, 0 if nothing; of a histogram, the number of observations."""
        histogram = self._histograms.get((name, *labels))
        if histogram:
            return sum(histogram.buckets)
        return self._counts.get((name, *labels), self._gauges.get((name, *labels), 0))

    def flush(self) -> None:
        """Bring the files up to date. A disk that is full costs figures, never mail."""
        if self._folder is None:
            return
        for series, count in self._counts.items():
            self._add(series, "", count)
        for series, histogram in self._histograms.items():
            for bound, count in zip(histogram.labels, histogram.buckets, strict=True):
                self._add((*series, bound), "_bucket", count)
            self._add(series, "_sum", histogram.sum)
        now = time.time()
        for series, value in self._gauges.items():
            if file := self._file(series):
                file.set(series, value, now)

    async def keep_flushing(self, seconds: float = 1.0) -> None:
        """Flush every so many seconds, and once more when cancelled."""
        try:
            while True:
                self.flush()
                await asyncio.sleep(seconds)
        finally:
            self.flush()

    def close(self) -> None:
        """Flush and close the files; what is counted from now on stays in memory."""
        self.flush()
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._folder = None

    def _add(self, series: Series, suffix: str, count: float) -> None:
        """Add to the file what a series has grown by since it was last written."""
        written = self._written.get((series, suffix))
        if written == count:
            return
        file = self._file(series)
        if file and file.add(series, suffix, count - (written or 0)):
            self._written[series, suffix] = count

    def _file(self, series: Series) -> File | None:
        kind = METRICS[series[0]].kind
        file = self._files.get(kind)
        if file is None and self._folder:
            try:
                file = self._files[kind] = File(self._folder, kind, self._slot)
            except OSError as error:
                if not self._complained:
                    _log.warning("metrics cannot be written: %s", error)
                self._complained = True
        return file


class _Histogram:
    __slots__ = ("bounds", "buckets", "labels", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.labels = bound_labels(bounds)
        self.buckets = [0] * len(self.labels)
        self.sum = 0.0
