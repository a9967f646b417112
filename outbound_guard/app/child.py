"""What the supervisor hands to a process it starts.

It stands alone: the supervisor asks whether it is one itself, and need not load what only its children need.
"""

from __future__ import annotations

import json
import os

import msgspec

from outbound_guard.supervisor.child import VARIABLE


class Child(msgspec.Struct, frozen=True):
    """What the supervisor hands to a process (environment variable VARIABLE, as JSON)."""

    slot: str
    state_url: str
    ready_fd: int
    parent: int = 0
    fds: dict[str, int] = {}
    """Listening sockets: index of the listener, or `console` -> file descriptor."""

    @classmethod
    def from_environment(cls) -> Child | None:
        """What this process was handed; None if it is no child of a supervisor."""
        handed = os.environ.get(VARIABLE)
        return msgspec.convert(json.loads(handed), cls) if handed else None

    def ready(self) -> None:
        """Tell the supervisor that this process serves."""
        os.write(self.ready_fd, b"1")
        os.close(self.ready_fd)
