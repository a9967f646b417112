"""Mail that other filters are asked about: a virus stays here, and without the filters all mail goes its way."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import INFECTED, daemons, needs
from tests.product import Hops, Product, message, until

CONFIGURED = """
[[scanner]]
kind = "clamav"
address = "unix:{clamd}"
timeout = 10.0
failures = 2
pause = 600.0
[[scanner]]
kind = "rspamd"
name = "deaf"
address = "{deaf}"
timeout = 0.2
failures = 3
pause = 600.0
[[scanner]]
kind = "uribl"
zone = "list.test"
timeout = 0.2
failures = 2
pause = 600.0
[dns]
resolvers = ["{silent}"]
"""
POLICY = """
[signal.content]
mode = "off"
[signal.structure]
mode = "off"
"""


@pytest.fixture
def unanswering() -> Iterator[tuple[str, str]]:
    """A TCP port where connections are accepted and nothing is said, and a UDP port where nothing is."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=100) as deaf,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
    ):
        silent.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*deaf.getsockname()), "{}:{}".format(*silent.getsockname())


@pytest.mark.long
@needs("clamav")
def test_mail_flows_without_the_scanners_and_a_virus_does_not_with_them(
    tmp_path: Path, unanswering: tuple[str, str]
) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scanners-")))
        clamd = stack.enter_context(daemons(folder))("clamav")
        hop = stack.enter_context(Hops()).start()
        deaf, silent = unanswering
        more = CONFIGURED.format(clamd=clamd.folder / "socket", deaf=deaf, silent=silent)
        product = stack.enter_context(
            Product.made(tmp_path, smarthosts=[hop.address], policy=POLICY, relays=1, more=more)
        )

        def send(content: bytes) -> str:
            with product.client() as client:
                return client.submit("anna@a.test", ["someone@there.test"], content)

        assert "queued as TEST" in send(message("note", "See http://shop.example/ about it."))
        held = send(INFECTED)
        assert held.startswith("250 "), held
        assert "TEST" not in held
        event = product.event(action="quarantine")
        assert event["code"] == "scanners"
        assert event["signals"]["scanners"] == 10.0

        def answers(scanner: str, result: str) -> float:
            return product.metric("scanner_answers_total", scanner=scanner, result=result)

        until(lambda: answers("clamav", "clean") == 1 and answers("clamav", "virus") == 1)
        # It is compared after the answer, and written a moment later.
        for result in ("neither", "scanner_only"):
            until(lambda: product.metric("scanner_agreement_total", scanner="clamav", result=result) == 1)  # noqa: B023
        (tmp_path / "infected.eml").write_bytes(INFECTED)
        explained = json.loads(product.guard("explain", "--json", str(tmp_path / "infected.eml")))
        assert [s["weight"] for s in explained["signals"] if s["name"] == "scanners"] == [10.0]
        clamd.kill()
        for number in range(4):
            assert "queued as TEST" in send(message(f"note {number}", "See http://shop.example/ about it."))
        assert "queued as TEST" in send(INFECTED), "nobody knows any more that it is one"
        until(lambda: answers("clamav", "down") == 2 and answers("clamav", "paused") == 3)
        assert (answers("deaf", "timeout"), answers("deaf", "paused")) == (3, 4)
        assert (answers("uribl", "timeout"), answers("uribl", "paused")) == (2, 4)
        assert len(hop.messages) == 6
        assert product.said().count("is not asked for 600 s") == 3
