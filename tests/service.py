"""The product as a process, started the way an operator starts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

GUARD = Path(sys.executable).with_name("outbound-guard")
_START_SECONDS, _STOP_SECONDS = 60.0, 25.0


class Service:
    """`outbound-guard serve` for the time of a `with` block. Its log is in `log`; SIGTERM must end it with 0."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.log = config.with_suffix(".log")
        self.addresses: dict[str, Any] = {}

    def __enter__(self) -> Service:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [GUARD, "serve", "--config", self.config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + _START_SECONDS
        while not any(line.startswith("ready:") for line in self.said().splitlines()):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"serve is not ready:\n{self.said()}")
            time.sleep(0.05)
        addresses = next(self.config.parent.rglob("run/addresses.json"))
        self.addresses = json.loads(addresses.read_text())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"serve did not end within {_STOP_SECONDS} s:\n{self.said()}") from None
        if kind is None:
            assert code == 0, self.said()

    def port(self, listener: int = 0) -> int:
        """The port of the listener with this number in the configuration."""
        return int(self.addresses["listeners"][listener].rpartition(":")[2])

    def said(self) -> str:
        """Everything it has written on standard output and standard error."""
        return self.log.read_text(errors="replace")
