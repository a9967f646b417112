"""Charts as SVG, made on the server: no script is needed, and the numbers stand in the text for who cannot see them.

Colours and strokes come from the style sheet by class; here is only geometry. All return Markup that is safe to show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT = 720.0, 180.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 8.0, 10.0, 22.0
_PLAIN: Callable[[float], str] = lambda value: f"{value:g}"  # noqa: E731 -- a default for labels.


_RECT = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
_LINE = Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>')
_TEXT = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
_GROUP = Markup('<g class="{}"><title>{}</title>{}</g>')
_DOT = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}</title></circle>')
_CURVE = Markup('<polyline class="{}" points="{}"><title>{}</title></polyline>')
_CHART = Markup('<svg class="chart" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>')
_BAR = Markup('<svg class="bar" viewBox="0 0 {0:g} 12" width="{0:g}" height="12" aria-hidden="true">{1}</svg>')


def stacked(
    columns: Sequence[tuple[str, dict[str, float]]],
    kinds: Sequence[str],
    *,
    title: str,
    ticks: int = 8,
    line: Sequence[float | None] = (),
    line_name: str = "",
) -> Markup:
    """Stacked columns: `columns` are (label, {kind: value}); `kinds` from the bottom up, each with the class `of-KIND`.

    `line` is drawn over them, one value for each column (None leaves a gap), as the baseline they are compared with.
    """
    top = _nice(max([sum(values.values()) for _, values in columns] + [value for value in line if value] + [1.0]))
    parts = _grid(top)
    slot = (_WIDTH - _LEFT - _RIGHT) / max(len(columns), 1)
    every = max(1, round(len(columns) / max(ticks, 1)))
    for index, (label, values) in enumerate(columns):
        x, base = _LEFT + index * slot, 0.0
        told = ", ".join(f"{kind} {_short(values[kind])}" for kind in kinds if values.get(kind))
        drawn = [_RECT.format("hover", x, _TOP, slot, _inner())]
        for kind in kinds:
            if value := values.get(kind, 0.0):
                y = _y(base + value, top)
                width, height = max(slot - (2 if slot > 6 else 0.4), 0.6), max(_y(base, top) - y, 0.6)
                drawn.append(_RECT.format(f"of-{kind}", x, y, width, height))
                base += value
        parts.append(_GROUP.format("column", f"{label}: {told or 'nothing'}", _joined(drawn)))
        if index % every == 0:
            parts.append(_label(x, label))
    if line:
        points = [(_LEFT + (index + 0.5) * slot, value) for index, value in enumerate(line)]
        parts += _curve(points, top, "baseline", line_name)
    return _CHART.format(_WIDTH, _HEIGHT, title, _joined(parts))


def scores(
    points: Sequence[tuple[float, float, str, str]],
    marks: Sequence[tuple[str, float]],
    *,
    since: float,
    until: float,
    label: Callable[[float], str] = _PLAIN,
    title: str,
    events: Sequence[tuple[float, str, str]] = (),
) -> Markup:
    """Points over time: `points` are (unix time, value, kind, text); `marks` are named horizontal lines.

    `events` are (unix time, kind, text): vertical lines, for what was decided.
    """
    values = [value for _, value, _, _ in points]
    highest = _nice(max([*values, *(at for _, at in marks), 1.0]))
    lowest = -_nice(-min(values)) if min(values, default=0.0) < 0 else 0.0
    parts = _grid(highest, lowest)
    span, right = max(until - since, 1.0), _WIDTH - _RIGHT

    def across(time: float) -> float:
        return _LEFT + (min(max(time, since), until) - since) / span * (right - _LEFT)

    end, above = right, _HEIGHT
    for name, at in sorted(marks, key=lambda mark: mark[1]):
        y = _y(at, highest, lowest)
        # A name beside the one below it, if it would be written over that.
        end = end - 60 if above - y < 12 else right
        above = y
        parts += [_LINE.format("mark", _LEFT, right, y, y), _TEXT.format("mark", end, y - 3, "end", name)]
    for time, kind, text in events:
        x = across(time)
        drawn = _LINE.format("", x, x, _TOP, _HEIGHT - _BOTTOM)
        parts.append(_GROUP.format(f"event is-{kind}", text, drawn))
    for time, value, kind, text in points:
        parts.append(_DOT.format(f"of-{kind}", across(time), _y(value, highest, lowest), text))
    parts += [_label(across(time), label(time)) for time in (since + span * step / 6 for step in range(6))]
    return _CHART.format(_WIDTH, _HEIGHT, title, _joined(parts))


def bar(value: float, most: float, *, kind: str = "") -> Markup:
    """A small bar from the middle: to the right for positive values, to the left for negative ones."""
    half = 60.0
    length = half * min(abs(value) / most, 1.0) if most else 0.0
    x = half if value >= 0 else half - length
    sort = kind or ("against" if value > 0 else "favour")
    axis = _LINE.format("axis", half, half, 0, 12)
    return _BAR.format(2 * half, axis + _RECT.format(f"is-{sort}", x, 2, max(length, 0.8), 8))


def share(value: float, whole: float, *, kind: str = "relay") -> Markup:
    """A small bar from the left: a part of a whole."""
    length = 100.0 * min(value / whole, 1.0) if whole else 0.0
    return _BAR.format(100, _RECT.format("track", 0, 2, 100, 8) + _RECT.format(f"of-{kind}", 0, 2, length, 8))


def _grid(highest: float, lowest: float = 0.0) -> list[Markup]:
    parts = []
    values = [highest * step / 4 for step in range(5)]
    if lowest < -highest / 10:
        values.insert(0, lowest)
    for value in values:
        y = _y(value, highest, lowest)
        parts.append(_LINE.format("grid", _LEFT, _WIDTH - _RIGHT, y, y))
        parts.append(_TEXT.format("", _LEFT - 6, y + 3.5, "end", _short(value)))
    return parts


def _curve(points: Sequence[tuple[float, float | None]], highest: float, kind: str, name: str) -> list[Markup]:
    runs: list[list[str]] = [[]]
    for x, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{x:.1f},{_y(value, highest):.1f}")
    return [_CURVE.format(kind, " ".join(run), name) for run in runs if len(run) > 1]


def _label(x: float, text: str) -> Markup:
    return _TEXT.format("at", x, _HEIGHT - 6, "start", text)


def _joined(parts: Sequence[Markup]) -> Markup:
    return Markup("").join(parts)


def _inner() -> float:
    return _HEIGHT - _TOP - _BOTTOM


def _y(value: float, highest: float, lowest: float = 0.0) -> float:
    return _TOP + _inner() * (1 - (value - lowest) / ((highest - lowest) or 1.0))


def _nice(value: float) -> float:
    """The next larger number that reads well on an axis of four steps."""
    size = 1.0
    while size * 10 < value:
        size *= 10
    return next(size * step for step in (1, 2, 4, 6, 8, 10, 20) if size * step >= value)


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
