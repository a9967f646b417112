"""What systemd wants to be told of a service of `Type=notify`: datagrams to the socket that it names (sd_notify(3)).

Without NOTIFY_SOCKET, that is without systemd, nothing is said. Nobody answers, and what cannot be sent is left out: a
service manager that is away must not stop mail.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

_OFTEN = 3.0
"""So many signs of life fit into the time after which systemd takes us for dead; it recommends two."""

_PATIENCE = 0.2
"""Seconds that the loop may wait for room in that queue."""


class Systemd:
    """The line to systemd; only the process that systemd has started uses it."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of `environment`: no child is to speak for us."""
        address, seconds, process = (
            environment.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        )
        # "@" stands for the NUL of an address that is no file.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        meant = address and seconds.isdigit() and process in ("", str(os.getpid()))
        self.pause = int(seconds) / 1e6 / _OFTEN if meant else 0.0
        """Seconds between two signs of life; 0: none are wanted."""
        self._usual, self._said = "", ""

    def tell(self, *lines: str, status: str = "") -> None:
        """Send assignments such as `READY=1`. `status` is what `systemctl status` shows from now on."""
        if status:
            self._usual = self._said = status
        self._send(*lines, *((f"STATUS={status}",) if status else ()))

    def ails(self, why: str) -> None:
        """Show this as the status, until `well`."""
        if why != self._said:
            self._said = why
            self._send(f"STATUS={why}")

    def well(self) -> None:
        """Give a sign of life, and show the usual status again."""
        self._send("WATCHDOG=1")
        if self._said != self._usual:
            self.tell(status=self._usual)

    def reloading(self) -> None:
        """A reload begins; READY=1 ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # It goes into a queue of the kernel, which is full only if systemd itself hangs.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(_PATIENCE)
            line.sendto("\n".join(lines).encode(), self._address)
