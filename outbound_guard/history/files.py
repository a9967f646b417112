"""Log files as lines with their times: plain or gzip, in the order of their first line."""

from __future__ import annotations

import datetime
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from outbound_guard.history import HistoryError

_LONGEST = 65_536
"""Octets of a line that are read."""
_REPORT_LINES = 20_000
_MONTHS = {
    name: number
    for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)  # noqa: SIM905
}
# RFC 5424 and Exim, with or without zone; or syslog of old, which knows no year.
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d)(?::(\d\d)(?:\.\d+)?)?(?: ?(Z|[+-]\d\d:?\d\d))?(?= )"
    r"|([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d):(\d\d)(?= )"
)

Progress = Callable[[Path, float, int], None]
"""Told the file, the share of it that is read (0 to 1), and the lines read of it."""


class Stamps:
    """Reads the times at the beginning of lines."""

    def __init__(self, zone: datetime.tzinfo | None, newest: float) -> None:
        """`zone` of times that name none; None: this machine's. `newest`: unix seconds after which no line is."""
        self._zone, self._newest = zone, newest
        self._minutes: dict[tuple[str, str, str | None], float] = {}
        """Lines of one minute share the work."""

    def read(self, line: str) -> tuple[float, str] | None:
        """Unix seconds, and the line behind the time; None for a line that begins with none."""
        found = _STAMP.match(line)
        if found is None:
            return None
        day, minute, second, zone, month, number, old_minute, old_second = found.groups()
        if day is None:
            if month not in _MONTHS:
                return None
            day, minute, second = f"{_MONTHS[month]:02d}-{int(number):02d}", old_minute, old_second
        key = (day, minute, zone)
        if key not in self._minutes:
            if len(self._minutes) > 10_000:
                self._minutes.clear()
            try:
                self._minutes[key] = self._minute(*key)
            except (ValueError, OverflowError, OSError):
                return None
        return self._minutes[key] + int(second or 0), line[found.end() + 1 :]

    def _minute(self, day: str, minute: str, zone: str | None) -> float:
        if len(day) == 5:
            # The year is the last in which such a line could have been written before the file was changed.
            year = datetime.datetime.fromtimestamp(self._newest, self._zone).year
            for candidate in (year, year - 1):
                time = self._minute(f"{candidate}-{day}", minute, zone)
                if time <= self._newest + 86_400:
                    return time
            return time
        if zone:
            zone = "+00:00" if zone == "Z" else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
            return datetime.datetime.fromisoformat(f"{day}T{minute}:00{zone}").timestamp()
        return datetime.datetime.fromisoformat(f"{day}T{minute}:00").replace(tzinfo=self._zone).timestamp()


def in_order(paths: list[Path], zone: datetime.tzinfo | None) -> list[Path]:
    """The files by the time of their first line. Raises HistoryError for one without any, OSError."""
    firsts = []
    for path in paths:
        for number, (time, _) in enumerate(lines(path, zone)):
            firsts.append((time, number, path))
            break
        else:
            raise HistoryError(f"{path}: has no line that begins with a time; is it a mail log?")
    return [path for *_, path in sorted(firsts, key=lambda first: first[0])]


def lines(
    path: Path, zone: datetime.tzinfo | None, progress: Progress = lambda path, share, count: None
) -> Iterator[tuple[float, str]]:
    """The lines of a log, each as its time (unix seconds) and the rest. Raises HistoryError, OSError."""
    stamps = Stamps(zone, path.stat().st_mtime)
    size = max(1, path.stat().st_size)
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if zipped else raw
        count = 0
        try:
            while line := file.readline(_LONGEST):
                count += 1
                if count % _REPORT_LINES == 0:
                    progress(path, raw.tell() / size, count)
                found = stamps.read(line.decode("utf-8", "replace").rstrip("\r\n"))
                if found:
                    yield found
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise HistoryError(f"{path}: is damaged or not complete: {error}") from error
    progress(path, 1.0, count)
