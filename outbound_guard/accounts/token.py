"""The opaque token that our marks on a message carry instead of the account's name: `<id>-<seal>`.

The id alone leads nobody anywhere: it is random and dated, and only the ledger, which keeps every decision, knows whose
message it was. The seal, twelve hexadecimal digits of a keyed hash over the id, shows that the id is ours: a complaint
that comes back with a made-up token cannot be pinned on an account. A token that enciphered the account instead would
outlive the ledger, but would also tell that two messages have the same sender, and would need a cipher.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from outbound_guard import durable
from outbound_guard.config import ConfigError

_KEY_OCTETS = 32
_SEAL_OCTETS = 6
"""48 bits; whoever guesses has to send each guess to us."""
_TOKEN = re.compile(rf"([0-9A-Za-z_.]{{1,64}})-([0-9a-f]{{{2 * _SEAL_OCTETS}}})")


class Tokens:
    """Seals message ids and knows its own seals again."""

    def __init__(self, secret: bytes) -> None:
        """`secret` is the installation's (see `secret`); all its processes and nodes must have the same."""
        self._keyed = hashlib.blake2b(key=secret, digest_size=_SEAL_OCTETS, person=b"message-id")

    def seal(self, id_: str) -> str:
        """The token for a message: ASCII letters, digits and one hyphen; fits a header, a URL, a local part."""
        return f"{id_}-{self._letters(id_)}"

    def verify(self, token: str) -> str | None:
        """The message id that a token of ours carries; None for any other text. Upper case is forgiven."""
        for text in (token.strip(), token.strip().lower()):
            found = _TOKEN.fullmatch(text)
            if found and hmac.compare_digest(self._letters(found[1]), found[2]):
                return found[1]
        return None

    def _letters(self, id_: str) -> str:
        keyed = self._keyed.copy()
        keyed.update(id_.encode())
        return keyed.hexdigest()


def secret(data_dir: Path) -> bytes:
    """The installation's secret, 32 octets in data_dir/secret (mode 0600); made at the first call, whoever calls first.

    Raises OSError, and ConfigError if the file does not hold 32 octets.
    """
    path = data_dir / "secret"
    with suppress(FileNotFoundError):
        return _read(path)
    durable.make_directories(data_dir)
    # Processes that start together must agree on one secret: a link, unlike a rename, does not replace what is there.
    fresh = data_dir / f".secret.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        durable.write(fresh, [secrets.token_bytes(_KEY_OCTETS)])
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        with suppress(OSError):
            os.unlink(fresh)
    durable.sync_directory(data_dir)
    return _read(path)


def _read(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != _KEY_OCTETS:
        raise ConfigError(
            f"{path}: holds {len(key)} octets instead of {_KEY_OCTETS}; put the file back from a backup, or remove it: "
            "then a new one is made, and tokens given out before lead nowhere"
        )
    return key
