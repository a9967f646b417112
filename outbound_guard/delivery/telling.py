"""Telling others what has become of a message, when nothing depends on it any more."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec

_P = ParamSpec("_P")
_log = logging.getLogger(__name__)


async def tell(
    id_: str, news: str, hear: Callable[_P, Awaitable[None] | None], *of: _P.args, **more: _P.kwargs
) -> None:
    """Let `hear` know. What it raises is logged with the message's id and `news`: that which could not be told.

    The message is where it belongs already; only the news of it is lost, and nobody waits for an answer.
    """
    try:
        told = hear(*of, **more)
        if inspect.isawaitable(told):
            await told
    except Exception:
        _log.exception("%s: %s could not be told", id_, news)
