"""/metrics, /healthz, /readyz and /readyz/mail over HTTP, answered by threads, never by a process that takes mail."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from outbound_guard.metrics.files import exposition


class MetricsServer:
    """The listening server; `address` holds its real port."""

    def __init__(
        self,
        host: str,
        port: int,
        folder: Path,
        ready: Callable[[], tuple[bool, str]],
        taking: Callable[[], tuple[bool, str]] | None = None,
    ) -> None:
        """Bind (port 0: any free one) and start. `folder` holds the metrics' files. Raises OSError.

        Both are called from other threads: `ready` says whether the service is complete, and what is missing; `taking`
        whether mail is taken, be it without some other part (without it: the same as `ready`).
        """
        self._folder, self._ready, self._taking = folder, ready, taking or ready
        self._server = (_Server6 if ":" in host else _Server)((host, port), _Handler)
        self._server.set_app(self._answer)
        self.address = f"{f'[{host}]' if ':' in host else host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and give the port back."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        kind = "text/plain; charset=utf-8"
        method = environ["REQUEST_METHOD"]
        match environ["PATH_INFO"]:
            case _ if method not in ("GET", "HEAD"):
                status, body = "405 Method Not Allowed", b"only GET\n"
            case "/metrics":
                status, body, kind = "200 OK", exposition(self._folder), CONTENT_TYPE_LATEST
            case "/healthz":
                status, body = "200 OK", b"ok\n"
            case "/readyz" | "/readyz/mail" as path:
                good, why = self._ready() if path == "/readyz" else self._taking()
                status, body = ("200 OK" if good else "503 Service Unavailable"), f"{why}\n".encode()
            case _:
                status, body = "404 Not Found", b"there are /metrics, /healthz and /readyz\n"
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [] if method == "HEAD" else [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # A scraper that does not read must not keep the supervisor from stopping.
    block_on_close = False

    def server_bind(self) -> None:
        # http.server would ask DNS for the machine's name here.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logging.getLogger(__name__).debug("a scrape failed", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 5  # Seconds a client may be silent.

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line each."""

    def address_string(self) -> str:
        """The client's address, without asking DNS for its name."""
        return str(self.client_address[0])
