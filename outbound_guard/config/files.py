"""Checks of the files that a configuration names."""

from __future__ import annotations

import ssl

from outbound_guard.config.reading import Mistake
from outbound_guard.config.settings import Config


def readable(config: Config, where: str, name: str) -> None:
    """Raises Mistake unless the file that the setting `where` names can be read."""
    path = config.resolve(name)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise Mistake(
            where, f'"{name}" cannot be read ({error.strerror}); paths start at the folder of this file'
        ) from None


def certificate(config: Config, where: str, certificate: str, private_key: str, needed_for: str) -> None:
    """Raises Mistake unless the two are PEM files that belong together; `where` is the table they stand in."""
    for key, name in (("certificate", certificate), ("private_key", private_key)):
        if not name:
            raise Mistake(f"{where}.{key}", f"is needed for {needed_for}; name a PEM file")
        readable(config, f"{where}.{key}", name)
    try:
        # Without an answer for it, OpenSSL would ask the terminal for the passphrase of an encrypted key.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            config.resolve(certificate), config.resolve(private_key), password=lambda: b""
        )
    except ssl.SSLError as error:
        raise Mistake(
            f"{where}.certificate",
            f"cannot be used with private_key ({error.reason or 'not PEM, or with a passphrase'}); expected two PEM "
            "files that belong together, the key without passphrase",
        ) from None
