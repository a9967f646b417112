"""The keys by which customers' servers sign who sent a message: a file with lines `KEYID:SECRET` or
`KEYID:SECRET:ACCOUNTS`."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import msgspec

from outbound_guard.config.reading import ConfigError

SHORTEST = 20
"""Characters of a secret: whoever has seen a signature can try secrets as fast as his machine computes."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SECRET = re.compile(rf"[!-9;-~]{{{SHORTEST},256}}")
_LONGEST_FILE = 1_048_576


class SigningKey(msgspec.Struct, frozen=True):
    """One line of the file."""

    secret: bytes
    accounts: tuple[re.Pattern[str], ...] = ()
    """Accounts that it may speak for; empty: all."""

    def may_speak_for(self, account: str) -> bool:
        """True if the key's owner may say that a message is of this account."""
        return not self.accounts or any(one.fullmatch(account) for one in self.accounts)


def read_keys(path: Path) -> dict[str, SigningKey]:
    """The keys by id; `#` begins a comment line. Raises ConfigError naming the line."""
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_FILE + 1).decode("ascii")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: has characters beyond ASCII at octet {error.start}") from error
    if len(text) > _LONGEST_FILE:
        raise ConfigError(f"{path}: is longer than {_LONGEST_FILE} octets")
    keys: dict[str, SigningKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        id_, colon, rest = line.strip().partition(":")
        secret, _, accounts = rest.partition(":")
        if not colon or not _ID.fullmatch(id_):
            raise ConfigError(f"{path}: line {number}: is not KEYID:SECRET or KEYID:SECRET:ACCOUNT,ACCOUNT...")
        if not _SECRET.fullmatch(secret):
            # What stands there is not repeated: the text goes to a log.
            raise ConfigError(
                f"{path}: line {number}: the secret of {id_} cannot be used; expected {SHORTEST} to 256 printable "
                "characters without spaces and colons, for example from: openssl rand -hex 32"
            )
        if id_ in keys:
            raise ConfigError(f"{path}: line {number}: {id_} stands there twice")
        named = [account.strip().lower() for account in accounts.split(",") if account.strip()]
        keys[id_] = SigningKey(secret.encode("ascii"), tuple(_compiled(account) for account in named))
    if not keys:
        raise ConfigError(f"{path}: has no keys; expected lines KEYID:SECRET")
    return keys


def _compiled(pattern: str) -> re.Pattern[str]:
    """Only `*` means something; `[` and `?` stand for themselves."""
    return re.compile(fnmatch.translate(re.sub(r"[\[?]", r"[\g<0>]", pattern)))
