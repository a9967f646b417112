"""What goes to the store and comes back: values, scripts, the two ways to fail."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from outbound_guard.state.wire import Value, pack


class StateError(Exception):
    """The store refused a command: a mistake of ours."""


class StateDown(StateError):  # noqa: N818 - It is a condition rather than a mistake.
    """The store cannot be reached or cannot serve now. Mail goes on without it."""


class Script:
    """A Lua script and its SHA-1, by which the server knows it. All keys of one call must lie in one hash slot."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode()


class Sent:
    """What a reply is waited for."""

    __slots__ = ("args", "deadline", "future", "keys", "moves", "script")

    def __init__(
        self,
        future: asyncio.Future[Any] | None,
        deadline: float,
        script: Script | None = None,
        keys: Sequence[Value] = (),
        args: Sequence[Value] = (),
    ) -> None:
        self.future = future
        """None: nobody waits."""
        self.deadline = deadline
        self.script = script
        """To be loaded if the server does not know it; None: not (again)."""
        self.keys = keys
        self.args = args
        """Of a command without a script: its words."""
        self.moves = 0
        """How often a cluster has sent it elsewhere."""

    @property
    def is_record(self) -> bool:
        """True if it was written behind; the loading of a script has no keys."""
        return self.future is None and bool(self.keys)

    def fail(self, error: StateError) -> None:
        """Tell whoever waits for it, and may have given up already."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)
            self.future.exception()


def evalsha(script: Script, keys: Sequence[Value], args: Sequence[Value]) -> bytes:
    """The call of a script as octets."""
    return pack((b"EVALSHA", script.sha, len(keys), *keys, *args))
