"""Certificates that are replaced while the service runs: noticed within seconds, and at once on SIGHUP."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from outbound_guard.app.parts import Parts
from outbound_guard.edge import Certificate

_LOOK = 5.0
"""Seconds between two looks at the files. A new pair is used when it has stayed as it is from one to the next."""


def keep_certificates(parts: Parts, certificates: Sequence[tuple[str, Certificate]]) -> Callable[[], None]:
    """Read certificates again when their files change, and keep their metric; each with the name of its listener.

    The function that is returned has them read at once.
    """

    def look(*, at_once: bool = False) -> None:
        for name, certificate in certificates:
            result = certificate.refresh(at_once=at_once)
            if result:
                parts.metrics.count("file_reloads_total", "certificate", result)
            parts.metrics.gauge("certificate_expiry_seconds", certificate.ends, name)

    async def keep() -> None:
        look()

    if certificates:
        parts.every(_LOOK, keep)
    return lambda: look(at_once=True)
