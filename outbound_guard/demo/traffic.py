"""Honest traffic: who of the provider's customers writes at a moment, to whom, and what."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from outbound_guard.demo.provider import Provider, Sender, correspondent
from outbound_guard.demo.writing import Mail, built, by_login, by_program, from_outside, letter, printed

_HOUR = 3600.0
_RHYTHM = (2, 1, 1, 1, 1, 2, 4, 8, 12, 15, 16, 15, 11, 13, 15, 14, 12, 9, 7, 6, 5, 4, 3, 2)
"""How much is written in each hour of a day, against the others."""
_NEW = 0.06
"""How often a mailbox writes to somebody for the first time."""


class Traffic:
    """Draws honest mail."""

    def __init__(self, provider: Provider, seed: int) -> None:
        self._draw = random.Random(f"traffic {seed}")  # noqa: S311 -- The same seed, the same mail.
        self._senders = provider.senders
        self._weights = [sender.weight for sender in self._senders]

    def mail(self, now: float) -> Mail:
        """Somebody's next message, at `now` (unix seconds)."""
        return self.of(self._draw.choices(self._senders, self._weights)[0], now)

    def of(self, sender: Sender, now: float) -> Mail:
        """The next message of this sender."""
        draw = self._draw
        if sender.kind == "office":
            return self._office(sender, now)
        if sender.kind == "forwarder":
            return self._forwarded(sender, now)
        if sender.kind == "newsletter":
            recipients = tuple(draw.sample(sender.correspondents, 20))
            subject, text = printed(draw, sender.language, "news")
            traces = by_login(draw, now, sender)
        elif sender.kind == "cron":
            recipients = sender.correspondents
            subject, text = "Cron: nightly backup", f"{draw.randrange(300, 900)} files saved, nothing failed."
            traces = by_program(draw, now, sender)
        else:
            recipients = (draw.choice(sender.correspondents),)
            if sender.kind == "orders" and draw.random() < 0.5:
                recipients = (correspondent(draw, sender.language),)
            subject, text = printed(draw, sender.language, {"orders": "order", "form": "form"}[sender.kind])
            traces = by_program(draw, now, sender)
        content = built(draw, now, sender, recipients[0], subject, text, traces)
        return Mail(sender.server, sender.address, recipients, content, sender.identity)

    def _office(self, sender: Sender, now: float) -> Mail:
        draw = self._draw
        new = draw.random() < _NEW
        to = correspondent(draw, sender.language) if new else draw.choice(sender.correspondents)
        recipients = (to,) if draw.random() < 0.85 else (to, *draw.sample(sender.correspondents, 2))
        subject, text = letter(draw, sender.language, to)
        content = built(draw, now, sender, to, subject, text, by_login(draw, now, sender))
        return Mail(sender.server, sender.address, tuple(dict.fromkeys(recipients)), content, sender.identity)

    def _forwarded(self, sender: Sender, now: float) -> Mail:
        draw = self._draw
        stranger = correspondent(draw, sender.language)
        local, _, domain = stranger.partition("@")
        subject, text = letter(draw, sender.language, sender.address)
        traces = from_outside(draw, now, sender)
        content = built(draw, now, sender, sender.address, subject, text, traces, f"<{stranger}>")
        mail_from = f"SRS0=h{draw.randrange(100, 999)}=Q4={domain}={local}@{sender.account}"
        return Mail(sender.server, mail_from, (sender.correspondents[0],), content, sender.identity)


def moments(begin: float, end: float, a_day: int, seed: int) -> Iterator[float]:
    """When mail was sent between two moments (unix seconds), in order: `a_day` messages a day in a day's rhythm."""
    draw = random.Random(f"moments {seed}")  # noqa: S311 -- The same seed, the same moments.
    whole = sum(_RHYTHM)
    hour = begin
    while hour < end:
        share = _RHYTHM[time.localtime(hour).tm_hour] / whole
        until = min(hour + _HOUR, end)
        number = round(a_day * share * (until - hour) / _HOUR * draw.uniform(0.85, 1.15))
        yield from sorted(draw.uniform(hour, until) for _ in range(number))
        hour = until
