"""Redis or Valkey as operators run it: single servers, masters with replicas and sentinels, clusters; with TLS.

    with Servers(folder) as servers:
        masters = servers.cluster(masters=3, replicas=1)
        url = servers.cluster_url()

Ports are the system's and stay reserved for as long as the servers are needed, so that a killed one can come back.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
import trustme

from outbound_guard.state.embedded import find_server
from tests.product import until

PROGRAM = shutil.which("redis-server") or str(find_server())


def has_tls() -> bool:
    """True if the server was built with TLS; the one that the product carries may not be."""
    tried = subprocess.run(
        [PROGRAM, "--port", "0", "--tls-port", "1", "--tls-cert-file", "/nonexistent"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return "Failed to configure TLS" in tried.stdout


class Server:
    """One process, which may be killed, hung and started again."""

    def __init__(self, servers: Servers, command: Sequence[str], port: int) -> None:
        self.command, self.port, self._servers = list(command), port, servers
        self.process: subprocess.Popen[bytes] | None = None
        self._client: Any = None

    def start(self) -> None:
        """Start it and return when it answers."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, f"{self.command} answers")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.command} has ended"
        try:
            return bool(self.say("PING"))
        except redis.BusyLoadingError:
            return False
        except redis.ConnectionError:
            return False

    def say(self, *words: str | int) -> Any:
        """One command; its reply as text."""
        if self._client is None:
            options = self._servers.options
            self._client = redis.Redis("127.0.0.1", self.port, decode_responses=True, socket_timeout=20, **options)
        return self._client.execute_command(*words)

    def signal(self, number: signal.Signals) -> None:
        """A signal to it."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self._client is not None:
            self._client.close()


class Servers:
    """All that one test needs; ended with the block."""

    def __init__(self, folder: Path, *, tls: bool = False, password: str = "") -> None:
        self.folder, self.tls, self.password = folder, tls, password
        self.options: dict[str, Any] = {"password": password} if password else {}
        self.nodes: list[Server] = []
        self.sentinels: list[Server] = []
        self._reserved: list[socket.socket] = []
        self._tls_options: list[str] = []
        if tls:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(folder / "ca.pem"))
            certificate = authority.issue_cert("127.0.0.1")
            certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
            for name, file in (("ca-cert", "ca"), ("cert", "server"), ("key", "server")):
                self._tls_options += [f"--tls-{name}-file", str(folder / f"{file}.pem")]
            self._tls_options += ["--tls-auth-clients", "no", "--tls-replication", "yes"]
            self.options |= {"ssl": True, "ssl_ca_certs": str(folder / "ca.pem")}
        if password:
            (folder / "password").write_text(f"{password}\n")

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for server in (*self.sentinels, *self.nodes):
            server.kill()
        for one in self._reserved:
            one.close()

    def port(self) -> int:
        """A port that nobody else is given: a server takes it while it is bound here, since this does not listen."""
        reserved = socket.socket()
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        self._reserved.append(reserved)
        return int(reserved.getsockname()[1])

    def node(self, *more: str) -> Server:
        """A server of its own."""
        port = self.port()
        folder = self.folder / f"node-{port}"
        folder.mkdir()
        listening = ["--port", "0", "--tls-port", str(port), *self._tls_options] if self.tls else ["--port", str(port)]
        secret = ["--requirepass", self.password, "--masterauth", self.password] if self.password else []
        options = ["--bind", "127.0.0.1", "--save", "", "--dir", str(folder), "--repl-diskless-sync-delay", "0"]
        server = Server(self, [PROGRAM, *listening, *secret, *options, *more], port)
        self.nodes.append(server)
        server.start()
        return server

    # -- Sentinel ----------------------------------------------------------------------------------------------------

    def watched(self, *, replicas: int = 1, sentinels: int = 3) -> Server:
        """A master `main` with replicas, and sentinels that know all of them; the master."""
        master = self.node()
        for _ in range(replicas):
            self.node("--replicaof", "127.0.0.1", str(master.port))
        quorum = sentinels // 2 + 1
        for _ in range(sentinels):
            port = self.port()
            file = self.folder / f"sentinel-{port}.conf"
            settings = [f"port {port}", "bind 127.0.0.1", f'dir "{self.folder}"']
            settings += [f"sentinel monitor main 127.0.0.1 {master.port} {quorum}"]
            settings += ["sentinel down-after-milliseconds main 500", "sentinel failover-timeout main 4000"]
            file.write_text("\n".join([*settings, ""]))
            self.sentinels.append(Server(self, [PROGRAM, str(file), "--sentinel"], port))
            self.sentinels[-1].start()
        for sentinel in self.sentinels:
            until(lambda one=sentinel: self._knows(one, replicas, sentinels - 1), "the sentinel knows all of them")
        return master

    def _knows(self, sentinel: Server, replicas: int, others: int) -> bool:
        found = sentinel.say("SENTINEL", "MASTER", "main")
        pairs = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
        return (int(pairs["num-slaves"]), int(pairs["num-other-sentinels"])) == (replicas, others)

    @property
    def sentinel_url(self) -> str:
        """For [state]."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/main"

    # -- Cluster -----------------------------------------------------------------------------------------------------

    def cluster(self, *, masters: int = 3, replicas: int = 0) -> list[Server]:
        """A cluster whose slots are spread evenly; its masters, and behind them the replicas in the same order."""
        number = masters * (1 + replicas)
        buses = [self.port() for _ in range(number)]
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"]
        options += ["--cluster-replica-validity-factor", "0", *(["--tls-cluster", "yes"] if self.tls else [])]
        nodes = [self.node(*options, "--cluster-port", str(bus)) for bus in buses]
        for place, node in enumerate(nodes[:masters]):
            first, last = 16384 * place // masters, 16384 * (place + 1) // masters - 1
            node.say("CLUSTER", "ADDSLOTSRANGE", first, last)
        for place, node in enumerate(nodes):
            node.say("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for node, bus in list(zip(nodes, buses, strict=True))[1:]:
            nodes[0].say("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        for node in nodes:
            until(lambda one=node: self._info(one)["cluster_known_nodes"] == str(number), "they have met")
        ids = [node.say("CLUSTER", "MYID") for node in nodes]
        for place, node in enumerate(nodes[masters:]):
            node.say("CLUSTER", "REPLICATE", ids[place % masters])
        for node in nodes:
            until(lambda one=node: self._info(one)["cluster_state"] == "ok", "the cluster works")
        for node in nodes[masters:]:
            until(lambda one=node: one.say("ROLE")[3] == "connected", "the replica follows")
        return nodes

    def _info(self, node: Server) -> dict[str, str]:
        said = node.say("CLUSTER", "INFO")
        lines = said.items() if isinstance(said, dict) else (line.split(":", 1) for line in said.split())
        return dict(lines)

    @property
    def cluster_url(self) -> str:
        """For [state]: two of its servers, by which the others are found."""
        return f"redis{'s' * self.tls}+cluster://{','.join(f'127.0.0.1:{one.port}' for one in self.nodes[:2])}"
