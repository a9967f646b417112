"""Certificates, and what a listener's configuration must fulfil beyond its types."""

from __future__ import annotations

import ssl

from outbound_guard.config import Config, ConfigError, Listener, host_port, networks

HANDSHAKE_SECONDS = 10.0


def tls_context(listener: Listener, config: Config) -> ssl.SSLContext | None:
    """The context for STARTTLS or implicit TLS, from TLS 1.2 on; None if the listener has none.

    Raises ConfigError naming the key.
    """
    if listener.tls == "none":
        return None
    where = _where(listener, config)
    for key in ("certificate", "private_key"):
        name = getattr(listener, key)
        if not name:
            raise ConfigError(f'{where}.{key}: is needed for tls = "{listener.tls}"')
        try:
            config.resolve(name).read_bytes()
        except OSError as error:
            raise ConfigError(f"{where}.{key}: {config.resolve(name)}: cannot be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # Without an answer for it, OpenSSL would ask the terminal for the passphrase of an encrypted key.
        context.load_cert_chain(
            config.resolve(listener.certificate), config.resolve(listener.private_key), password=lambda: b""
        )
    except ssl.SSLError as error:
        raise ConfigError(
            f"{where}.certificate: {listener.certificate} and private_key {listener.private_key} cannot be used: "
            f"{error.reason or 'not PEM, encrypted, or not a pair'}"
        ) from error
    return context


def check(listener: Listener, config: Config) -> None:
    """What must hold before a listener is opened. Raises ConfigError naming the key."""
    where = _where(listener, config)
    try:
        host_port(listener.address)
    except ValueError as error:
        raise ConfigError(f"{where}.address: {error}") from error
    try:
        networks(listener.trusted)
    except ValueError as error:
        raise ConfigError(f"{where}.trusted: {error}") from error
    for key in ("proxy_protocol", "xclient"):
        if getattr(listener, key):
            raise ConfigError(f"{where}.{key}: is not available yet; leave it empty")
    if listener.auth != "none" and not config.auth.passwords:
        raise ConfigError(f'auth.passwords: is needed for auth = "{listener.auth}" of {where}')
    tls_context(listener, config)


def _where(listener: Listener, config: Config) -> str:
    number = config.listener.index(listener) if listener in config.listener else 0
    return f"{config.path}: listener[{number}]" if config.path else f"listener[{number}]"
