"""Edges that sessions are played on, and a transport in memory: no socket, and nothing kept between sessions."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from outbound_guard.config.settings import Feedback
from outbound_guard.edge.reports import Reports
from outbound_guard.mail import Submission
from outbound_guard.reply import Reply, queued
from tests.live_edge import LiveEdge

LIMITS = {"errors": 8, "message_size": 1000, "recipients": 4, "auth_tries": 3, "hops": 3}
KINDS: tuple[dict[str, Any], ...] = (
    {"tls": "none", "auth": "none"},
    {"tls": "none", "auth": "optional"},
    {"tls": "none", "auth": "required", "trusted": []},
    {"tls": "starttls", "auth": "required", "trusted": []},
    {"tls": "starttls", "auth": "optional"},
    {"tls": "implicit", "auth": "required", "trusted": []},
    {"tls": "none", "auth": "optional", "xclient": ["127.0.0.1"]},
    {"tls": "none", "auth": "none", "proxy_protocol": ["127.0.0.1"]},
    {"tls": "none", "auth": "none"},
)
REPORTS = len(KINDS) - 1
"""The last one is the listener for reports, which speaks LMTP too."""
PEERS = (("127.0.0.1", 40_000), ("192.0.2.9", 40_001), ("::1", 40_002, 0, 0))


class Quiet(LiveEdge):
    """An edge that takes every message and knows one password, at once."""

    async def _accept(self, submission: Submission) -> Reply:
        self.messages.append(submission)
        return queued("ID")


class QuietReports(Quiet):
    """The listener for reports, which takes every one."""

    async def __aenter__(self) -> QuietReports:
        await super().__aenter__()
        feedback = Feedback(address="127.0.0.1:0", recipients=("b@b.example", "fbl"), networks=("127.0.0.0/8",))
        config = msgspec.structs.replace(
            self.config, feedback=msgspec.structs.replace(feedback, message_size=LIMITS["message_size"])
        )
        self.reports = Reports(config, hostname="guard.test", clock=self.clock, accept=self._accept, count=self._count)
        return self


class Pipe(asyncio.Transport):
    """A transport in memory; a TLS layer may be put on it."""

    _start_tls_compatible = True

    def __init__(self, peer: tuple[Any, ...], protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.written, self.closed, self.half_closed = bytearray(), False, False
        self.protocol: Any = protocol
        self._peer = peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self._peer, "sockname": ("127.0.0.1", 25)}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def _force_close(self, error: BaseException | None) -> None:
        self.closed = True

    def write_eof(self) -> None:
        self.half_closed = True

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    @property
    def over(self) -> bool:
        """The server has said its last word."""
        return self.closed or self.half_closed

    def arrive(self, octets: bytes) -> None:
        """Hand octets to whoever reads now."""
        protocol = self.protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            while octets:
                room = protocol.get_buffer(len(octets))
                size = min(len(room), len(octets))
                room[:size] = octets[:size]  # type: ignore[index]
                protocol.buffer_updated(size)
                octets = octets[size:]
        else:
            protocol.data_received(octets)


class Forgetful:
    """Counts no guesses, so that a session does not hang on what was played before; turns `guesser` away."""

    async def refuses(self, address: str, login: str) -> str:
        return "throttled_login" if login == "guesser" else ""

    def wrong(self, address: str, login: str) -> None:
        pass

    right = wrong


async def settle(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def check(*given: Any, **more: Any) -> bool:
    return given[0] in ("alice", "relay-1", "suspended@example.com") and given[1] == b"secret"
