"""Signatures and marks on what leaves: messages of customers, and reports of our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from outbound_guard.accounts import secret
from outbound_guard.app.parts import Parts
from outbound_guard.config import Config, ConfigError
from outbound_guard.delivery.bounce import CODE
from outbound_guard.spool import Entry
from outbound_guard.verdict import Judgement

if TYPE_CHECKING:
    from outbound_guard.delivery.dkim import Signer


def signer(config: Config) -> Callable[[list[bytes], Judgement], list[bytes]]:
    """Signs messages that are ready to go. Raises ConfigError."""
    keys = _keys(config)

    def signed(content: list[bytes], judgement: Judgement) -> list[bytes]:
        message = judgement.message
        received = judgement.submission.received
        return keys.sign(content, message.from_address, judgement.sender, message.fingerprint, received)

    return signed


def report_marks(parts: Parts) -> Callable[[Entry, bytes], Sequence[bytes]]:
    """Puts our token on reports that leave the queue, by which complaints about them are known, and signatures if there
    is a key for their From; all other mail has both already. Raises ConfigError.

    That is done when they leave, so that a key is as new as the signature.
    """
    keys = _keys(parts.config) if parts.config.dkim else None

    def marked(entry: Entry, content: bytes) -> Sequence[bytes]:
        if entry.code != CODE:
            return (content,)
        pieces = [f"X-Outbound-Guard-Id: {parts.tokens.seal(entry.id)}\r\n".encode(), content]
        return keys.sign_own(pieces, parts.hostname, parts.clock.now()) if keys else pieces

    return marked


def _keys(config: Config) -> Signer:
    # Only those who sign need the library, and have to wait for it.
    try:
        from outbound_guard.delivery.dkim import Signer
    except ImportError as error:
        raise ConfigError(f"dkim: to sign, the Python package cryptography must be installed: {error}") from error
    return Signer(config, secret(config.data_dir))
