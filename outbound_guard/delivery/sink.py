"""`mode = "sink"`: mail is written to files instead of being sent. Only ever used when the configuration says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from outbound_guard import durable, reply
from outbound_guard.clock import Clock
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.wire import successes
from outbound_guard.mail import Envelope, new_id

PEER = "sink"

_log = logging.getLogger(__name__)


class Sink:
    """A next hop that is a directory: one file ID.eml a message, the envelope in fields of its own in front."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        """Write into `directory`, which is created if need be. Raises OSError."""
        self._directory = directory
        self._clock = clock
        durable.make_directories(directory)

    async def deliver(self, envelope: Envelope, content: Sequence[bytes]) -> Result:
        """Write one message; the answer is 250 only when it is on the disk, 452 if it cannot be written."""
        id_ = new_id(self._clock.now())
        fields = [_field("X-Envelope-From", envelope.mail_from)]
        fields += [_field("X-Envelope-To", recipient) for recipient in envelope.recipients]
        try:
            await asyncio.to_thread(durable.write, self._directory / f"{id_}.eml", (*fields, *content))
        except OSError as error:
            _log.error("the sink cannot be written: %s", error)
            return Result((reply.OVERLOADED,) * len(envelope.recipients), PEER)
        return Result((reply.sunk(id_),) * len(envelope.recipients), PEER, relayed=successes(envelope))


def _field(name: str, address: str) -> bytes:
    # An address with a control character must not add a line of its own.
    clean = "".join(c if c.isprintable() else "?" for c in address)
    return f"{name}: <{clean}>\r\n".encode("utf-8", "replace")
