"""What an SMTP answer means, as people and programs are told."""

from __future__ import annotations

from typing import Any

from outbound_guard.delivery.lines import meaning_of_line, reply_in


def classified(line: str) -> dict[str, Any]:
    """What the answer in a line means: `class, provider, rule, side, advice, code, enhanced`; None: not known.

    The line may be one of a log or a bounce, with more around the answer.
    """
    meaning, reply = meaning_of_line(line), reply_in(line)
    return {
        "class": meaning.class_,
        "provider": meaning.provider,
        "rule": meaning.rule or None,
        "side": meaning.side,
        "advice": meaning.advice,
        "code": reply.code or None,
        "enhanced": reply.enhanced or None,
    }
