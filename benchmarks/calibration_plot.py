"""Reliability as a picture (SVG, written by hand: a few lines and circles) and as a markdown table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from benchmarks.calibration import Bin, Reliability

_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_END = math.log(0.9995 / 0.0005)
"""Log-odds at the ends of the axes; what lies beyond is drawn there."""
_SIDE, _LEFT, _TOP, _BARS, _APART = 380, 70, 64, 70, 100
_BLUE, _RED, _GREY = "#1f5fa8", "#b3361e", "#8a8a8a"


def table(found: Iterable[Reliability]) -> str:
    """One table for each, with its summary above."""
    blocks = []
    for one in found:
        lines = [
            f"**{one.name[0].upper()}{one.name[1:]}**: {one.count} messages, {one.abuse} of them abuse. "
            f"One nat was worth {one.slope:.2f}, at 0 the curve lies {one.offset:+.2f} nats from the prior. "
            f"Expected calibration error {one.error:.3f}; log loss {one.log_loss:.3f} nats a message "
            f"({one.log_loss_of_nothing:.3f} for one who knows the share of abuse alone).",
            "",
            "| nats | messages | accounts | abuse | predicted | observed | 95 % |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {b.low:+.0f} to {b.high:+.0f} | {b.count} | {b.accounts} | {b.abuse} | {b.predicted:.3f} "
            f"| {b.observed:.3f} | {b.least:.3f} to {b.most:.3f} |"
            for b in one.bins
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def svg(found: Sequence[Reliability]) -> str:
    """Panels side by side: prediction against share of abuse, both in log-odds; below, how many messages there are."""
    width = _LEFT + len(found) * (_SIDE + _APART) - _APART + 60
    height = _TOP + _SIDE + 50 + _BARS + 68
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, one in enumerate(found):
        parts += _panel(one, _LEFT + number * (_SIDE + _APART))
    y = height - 12
    parts.append(
        f'<circle cx="{_LEFT + 4}" cy="{y - 4}" r="4" fill="{_BLUE}"/>'
        + _text(_LEFT + 14, y, "share of abuse with 95 % confidence; dashed: as predicted", anchor="start")
        + f'<rect x="{_LEFT + 392}" y="{y - 9}" width="9" height="9" fill="{_GREY}"/>'
        + _text(_LEFT + 406, y, "honest", anchor="start")
        + f'<rect x="{_LEFT + 462}" y="{y - 9}" width="9" height="9" fill="{_RED}"/>'
        + _text(_LEFT + 476, y, "abuse (messages; the scale is logarithmic)", anchor="start")
    )
    return "\n".join([*parts, "</svg>", ""])


def _panel(one: Reliability, left: float) -> Iterable[str]:
    bottom = _TOP + _SIDE
    yield _text(left + _SIDE / 2, 22, f"Predicted by {one.name}", size=15)
    yield _text(
        left + _SIDE / 2,
        44,
        f"{one.count} messages, {one.abuse} abuse; one nat was worth {one.slope:.2f}; "
        f"calibration error {one.error:.3f}",
        size=11,
        fill="#555",
    )
    yield f'<rect x="{left}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#444"/>'
    for tick in _TICKS:
        x, y = left + _along(tick), bottom - _along(tick)
        yield f'<path d="M{x:.1f} {_TOP}V{bottom}M{left} {y:.1f}H{left + _SIDE}" stroke="#e4e4e4"/>'
        label = f"{100 * tick:g} %"
        yield _text(x, bottom + 16, label, size=10)
        yield _text(left - 6, y + 4, label, size=10, anchor="end")
    yield f'<path d="M{left} {bottom}L{left + _SIDE} {_TOP}" stroke="{_GREY}" stroke-dasharray="5 4"/>'
    yield _text(left + _SIDE / 2, bottom + 34, "predicted probability of abuse")
    yield (
        f'<text transform="translate({left - 48} {_TOP + _SIDE / 2}) rotate(-90)" text-anchor="middle">'
        "observed share of abuse</text>"
    )
    for b in one.bins:
        x = left + _along(b.predicted)
        least, most = bottom - _along(b.least), bottom - _along(b.most)
        yield f'<path d="M{x:.1f} {least:.1f}V{most:.1f}" stroke="{_BLUE}" stroke-width="1.5"/>'
        yield (
            f'<circle cx="{x:.1f}" cy="{bottom - _along(b.observed):.1f}" r="4" fill="{_BLUE}">'
            f"<title>{escape(_said(b))}</title></circle>"
        )
    yield from _bars(one, left, bottom + 50)


def _bars(one: Reliability, left: float, top: float) -> Iterable[str]:
    """One bar for each bin: honest and abuse side by side."""
    highest = math.log10(1 + max(b.count for b in one.bins))
    wide = _SIDE / len(one.bins)
    for number, b in enumerate(one.bins):
        x = left + number * wide
        for place, (count, colour) in enumerate(((b.count - b.abuse, _GREY), (b.abuse, _RED))):
            tall = _BARS * math.log10(1 + count) / highest
            at = x + wide * (0.1 + 0.4 * place)
            yield (
                f'<rect x="{at:.1f}" y="{top + _BARS - tall:.1f}" width="{0.4 * wide:.1f}" height="{tall:.1f}" '
                f'fill="{colour}"><title>{escape(_said(b))}</title></rect>'
            )
        yield _text(x + wide / 2, top + _BARS + 13, f"{b.low:+.0f}", size=10)
        yield _text(x + wide / 2, top + _BARS + 25, f"{b.count}", size=9, fill="#555")
    yield _text(left + _SIDE + 4, top + _BARS + 13, "nats, from", size=10, anchor="start")
    yield _text(left + _SIDE + 4, top + _BARS + 25, "messages", size=9, anchor="start", fill="#555")


def _said(b: Bin) -> str:
    return (
        f"{b.low:+.0f} to {b.high:+.0f} nats: {b.abuse} of {b.count} messages are abuse ({100 * b.observed:.1f} %), "
        f"predicted {100 * b.predicted:.1f} %"
    )


def _along(share: float) -> float:
    """Where a probability lies on an axis: pixels from its beginning."""
    share = min(max(share, 1e-9), 1 - 1e-9)
    odds = min(max(math.log(share / (1 - share)), -_END), _END)
    return (odds + _END) / (2 * _END) * _SIDE


def _text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "middle", fill: str = "#222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'
    )
