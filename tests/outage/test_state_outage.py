"""Redis hangs, dies and comes back while mail flows: nobody waits for it for long, and the metrics say so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.state.embedded import find_server
from tests.flow import Flow
from tests.product import Hops, Product, until

PATIENCE = 3.0
"""Seconds an answer may take while the store hangs. Ours gives up after half a second; a busy machine needs some."""


class Redis:
    """A server of one's own, as an operator would run it beside the product."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = int(server.getsockname()[1])
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen([find_server(), *options], stdout=subprocess.DEVNULL)
        until(self._answers, "Redis answers")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as asking:
                asking.sendall(b"PING\r\n")
                return asking.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def room(self, octets: int) -> None:
        """Let it use so much memory; 0: as much as there is."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as asking:
            asking.sendall(b"CONFIG SET maxmemory %d\r\n" % octets)
            assert asking.recv(5) == b"+OK\r\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(tmp_path)
    yield redis
    redis.kill()


def test_redis_is_away_comes_hangs_dies_and_comes_back(tmp_path: Path, redis: Redis) -> None:
    redis.kill()
    with Hops() as hops:
        hop = hops.start()
        more = f'[state]\nurl = "redis://127.0.0.1:{redis.port}"\n'
        with Product.made(tmp_path / "guard", smarthosts=[hop.address], more=more) as product:
            flow = Flow(hops, product, hop)
            flow.goes_on()
            assert product.metric("state_up") == 0
            redis.start()
            until(lambda: product.metric("state_up") == 1, "the metrics say that it is up")
            flow.goes_on()

            # It answers, and takes nothing: that is no outage, and still no reason to wait.
            redis.room(1)
            flow.goes_on()
            until(lambda: product.metric("state_errors_total", kind="refused") >= 1, "it is counted")
            redis.room(0)
            until(lambda: product.metric("state_up") == 1, "the metrics say that it is up")
            flow.goes_on()

            redis.process.send_signal(signal.SIGSTOP)
            flow.goes_on()
            until(lambda: product.metric("state_up") == 0, "the metrics say that it is down")
            assert product.metric("state_errors_total", kind="timeout") >= 1
            assert product.get("/readyz")[0] == 503
            flow.goes_on()
            redis.process.send_signal(signal.SIGCONT)
            until(lambda: product.metric("state_up") == 1, "the metrics say that it is up")
            flow.goes_on()

            redis.kill()
            flow.goes_on()
            until(lambda: product.metric("state_up") == 0, "the metrics say that it is down")
            flow.goes_on()
            redis.start()
            until(lambda: product.metric("state_up") == 1, "the metrics say that it is up")
            until(lambda: product.get("/readyz") == (200, "ready\n"), "all is well again")
            before = product.metric("state_errors_total")
            flow.goes_on()
            assert product.metric("state_errors_total") == before, "it is not used again"
            answered = flow.end()
            assert max(one.longest for one in answered) < PATIENCE


@pytest.mark.long
def test_the_private_server_hangs_and_is_killed(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path, smarthosts=[hop.address]) as product:
            flow = Flow(hops, product, hop)
            flow.goes_on()
            server = product.processes()["state"]
            os.kill(server, signal.SIGSTOP)
            flow.goes_on()
            until(lambda: product.metric("state_up") == 0, "the metrics say that it is down")
            product.kill("state")
            flow.goes_on()
            until(lambda: product.metric("state_up") == 1, "the metrics say that it is up")
            assert product.processes()["state"] != server
            assert product.metric("restarts_total", role="state") == 1
            flow.goes_on()
            answered = flow.end()
            assert max(one.longest for one in answered) < PATIENCE
