"""Where the state lies, as [state] says it: checked, and as the one URL that everybody who connects is handed."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from outbound_guard.config.files import certificate, readable
from outbound_guard.config.reading import Mistake
from outbound_guard.config.settings import Config
from outbound_guard.config.values import positive

_SCHEMES = ("redis", "rediss", "unix", *(f"redis{s}+{kind}" for kind in ("sentinel", "cluster") for s in ("", "s")))
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::([0-9]{1,5}))?")


def check_state(config: Config) -> None:
    """The table [state]. Raises Mistake."""
    state = config.state
    positive("state", state, "timeout", "max_memory")
    files = ("password_file", "sentinel_password_file", "ca_file", "certificate", "private_key")
    if state.url == "embedded":
        for key in files:
            if getattr(state, key):
                raise Mistake(f"state.{key}", 'is for a server of your own; with url = "embedded" it means nothing')
        return
    scheme, found, rest = state.url.partition("://")
    if not (found and rest and scheme in _SCHEMES):
        expected = " | ".join(("embedded", *(f"{scheme}://" for scheme in _SCHEMES)))
        raise Mistake(
            "state.url", f'"{state.url}" cannot be used; expected {expected}, for example redis://127.0.0.1:6379/0'
        )
    before, _, _ = rest.partition("?")
    authority, _, path = before.partition("/")
    login, _, hosts = authority.rpartition("@")
    _, _, kind = scheme.partition("+")
    if kind:
        _hosts(scheme, kind, hosts, path.strip("/"))
    if state.password_file and ":" in login:
        raise Mistake("state.password_file", "names a second password; the first stands in state.url")
    if state.sentinel_password_file and kind != "sentinel":
        raise Mistake("state.sentinel_password_file", f"is for redis+sentinel://, and state.url is {scheme}://")
    for key in ("ca_file", "certificate", "private_key"):
        if getattr(state, key) and not scheme.startswith("rediss"):
            raise Mistake(f"state.{key}", f"is for TLS, and {scheme}:// is without; expected rediss{scheme[5:]}://")
    for key in files[:3]:
        if getattr(state, key):
            readable(config, f"state.{key}", getattr(state, key))
    if state.certificate or state.private_key:
        certificate(config, "state", state.certificate, state.private_key, "a certificate of our own")


def state_url(config: Config) -> str:
    """`state.url` with the files that belong to it as options; "embedded" stays as it is."""
    state = config.state
    named = {
        "password_file": state.password_file,
        "sentinel_password_file": state.sentinel_password_file,
        "ssl_ca_certs": state.ca_file,
        "ssl_certfile": state.certificate,
        "ssl_keyfile": state.private_key,
    }
    options = urlencode({option: config.resolve(name) for option, name in named.items() if name})
    return f"{state.url}{'&' if '?' in state.url else '?'}{options}" if options else state.url


def _hosts(scheme: str, kind: str, hosts: str, path: str) -> None:
    for host in hosts.split(","):
        fits = _HOST.fullmatch(host)
        if not fits or not 0 < int(fits[1] or 1) < 65_536:
            raise Mistake("state.url", f'"{host}" is no HOST:PORT; several stand with commas between them')
    service, _, database = path.partition("/")
    if kind == "sentinel" and not service:
        raise Mistake("state.url", f"names no service; expected {scheme}://HOST:PORT,HOST:PORT/SERVICE")
    if kind == "sentinel" and not re.fullmatch(r"[0-9]{0,5}", database):
        raise Mistake("state.url", f'"{database}" is no number of a database; expected {scheme}://.../SERVICE/0')
    if kind == "cluster" and path not in ("", "0"):
        raise Mistake("state.url", f'"/{path}" means nothing here: a cluster has database 0 and no other')
