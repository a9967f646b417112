"""Pins what the edge relies on in aiosmtpd without having been promised it."""

from __future__ import annotations

import hashlib
import inspect
import re
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from aiosmtpd.smtp import Session as Peer

from outbound_guard.edge import private
from outbound_guard.edge.session import COMMANDS, Session
from outbound_guard.edge.wire import Wire

SOURCES = "".join(path.read_text() for path in Path(inspect.getfile(Wire)).parent.glob("*.py"))


@pytest.mark.parametrize("name", private.REPLACED)
def test_replaced(name: str) -> None:
    assert inspect.isfunction(getattr(SMTP, name))
    assert getattr(Session, name) is not getattr(SMTP, name)


@pytest.mark.parametrize("name", private.INHERITED)
def test_inherited(name: str) -> None:
    assert getattr(Session, name) is getattr(SMTP, name)
    source = inspect.getsource(getattr(SMTP, name))
    assert hashlib.sha256(source.encode()).hexdigest() == private.INHERITED[name], (
        "read it again, then renew the digest"
    )
    # What the inherited methods use of `self` is either inherited too, or the edge's own.
    for used in set(re.findall(r"self\.(\w+)", source)):
        assert used in private.INHERITED or used == "_closed" or used in private.ATTRIBUTES or hasattr(Session, used), (
            used
        )


@pytest.mark.parametrize("name", private.ATTRIBUTES)
def test_attributes(name: str) -> None:
    assert f"self.{name}" in inspect.getsource(SMTP)
    assert re.search(rf"self\.{name}\b|\b{name}[:(= ]", SOURCES)


def test_nothing_of_the_old_machinery_runs() -> None:
    """Whatever of aiosmtpd is not listed as inherited is replaced, or is never called: its commands are all ours."""
    for name in dir(SMTP):
        if name.startswith("smtp_"):
            assert name.removeprefix("smtp_") in COMMANDS
            assert getattr(Session, name) is not getattr(SMTP, name), name
    for name in (
        "connection_made",
        "connection_lost",
        "data_received",
        "eof_received",
        "pause_writing",
        "resume_writing",
    ):
        assert getattr(Session, name) is not getattr(SMTP, name)


def test_results_of_auth_carry_what_the_client_gave() -> None:
    assert AuthResult(success=False, auth_data=("u", "p")).auth_data == ("u", "p")
    assert AuthResult(success=False).auth_data is None
    assert "peer" in inspect.getsource(Peer)
