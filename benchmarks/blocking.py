"""How long one message holds the loop of a relay process, in which everybody else waits: messages made to do so.

    python -m benchmarks.blocking [--megabytes 50] [--most 50] [NAME ...]

A relay process runs here, with a state server of its own, and passes everything to smtp-sink. A timer looks every
millisecond how much processor time the loop's thread has spent since it looked last: that long the loop was held, and a
busy machine changes nothing in it. The longest of each message is printed, in milliseconds; it ends with 1 if one is
above `--most`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from outbound_guard.app.parts import Child
from outbound_guard.app.relay import run
from outbound_guard.config import load
from outbound_guard.loops import loop_factory
from outbound_guard.state.embedded import EmbeddedServer

_CONFIG = """\
[server]
hostname = "guard.test"
data_dir = "data"
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.0/8"]
[limits]
message_size = {size}
memory = 1000000000
[delivery]
mode = "smarthost"
[[delivery.pool]]
smarthosts = ["127.0.0.1:{sink}"]
tls = "none"
[policy]
mode = "observe"
[console]
address = ""
[metrics]
address = ""
"""
_HEAD = b"From: a@x.test\r\nTo: b@y.test\r\nSubject: s\r\nMIME-Version: 1.0\r\n"


def _filled(start: bytes, piece: bytes, octets: int, end: bytes = b"") -> bytes:
    return start + piece * ((octets - len(start) - len(end)) // len(piece)) + end


def _nested(octets: int) -> bytes:
    """Multiparts within each other, each of which looks for its end through the whole message."""
    head = _HEAD
    for level in range(12):
        head += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
    return _filled(head + b"\r\n", b"--bx is almost one\r\n", octets)


def messages(octets: int) -> Iterator[tuple[str, bytes]]:
    """Names, and messages of about so many octets."""
    mixed = _HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    attached = b"--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    yield "attachment", _filled(mixed + attached, b"QUJD" * 19 + b"\r\n", octets, b"--b--\r\n")
    yield "text", _filled(_HEAD + b"\r\n", b"some words of a long text\r\n", octets)
    yield "one line", _filled(_HEAD + b"\r\n", b"x", octets, b"\r\n")
    yield "dots", _filled(_HEAD + b"\r\n", b".\r\n", octets)
    yield "empty lines", _filled(_HEAD + b"\r\n", b"\r\n", octets)
    yield "parts", _filled(mixed, b"--b\r\n\r\nx\r\n", octets)
    yield "almost delimiters", _filled(mixed, b"--bx\r\n\r\nx\r\n", octets)
    yield "nested", _nested(octets)
    yield "nested messages", _filled(_HEAD, b"Content-Type: message/rfc822\r\n\r\n", octets)
    yield "header fields", _filled(_HEAD, b"a: b\r\n", octets, b"\r\nx\r\n")
    yield "header within the limit", _filled(_HEAD, b"a: b\r\n", 520_000, b"\r\nx\r\n")
    yield "folded field", _filled(_HEAD + b"X: a\r\n", b" b\r\n", 520_000, b"\r\nx\r\n")
    yield "received fields", _filled(_HEAD, b"Received: from a\r\n", octets, b"\r\nx\r\n")
    html = _HEAD + b"Content-Type: text/html\r\n\r\n"
    yield "html", _filled(html, b"<a href=http://x.example/>a</a><b>\r\n", octets)
    yield (
        "quoted-printable",
        _filled(_HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"=41=\r\n", octets),
    )
    yield "base64 text", _filled(_HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n", b"QUJD" * 19 + b"\r\n", octets)
    yield (
        "octets",
        _HEAD + b"\r\n" + random.Random(1).randbytes(octets).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n",
    )


class _Longest:
    """The longest that the loop was held since that was last asked."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds, self._last = 0.0, time.thread_time()
        self._look()

    def _look(self) -> None:
        now = time.thread_time()
        self._seconds, self._last = max(self._seconds, now - self._last), now
        self._loop.call_later(0.001, self._look)

    def take(self) -> float:
        """In seconds."""
        found, self._seconds = self._seconds, 0.0
        return found


def _send(port: int, content: bytes) -> str:
    """Hand one message in, as a client would; the last reply."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection, connection.makefile("rb") as replies:
        for words in (b"", b"HELO x\r\n", b"MAIL FROM:<a@x.test>\r\n", b"RCPT TO:<b@y.test>\r\n", b"DATA\r\n"):
            connection.sendall(words)
            replies.readline()
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        connection.sendall(stuffed + b".\r\n")
        return replies.readline().decode().strip()


async def _measure(options: argparse.Namespace, folder: Path, sink: int) -> int:
    size = options.megabytes * 1_000_000
    file = folder / "guard.toml"
    file.write_text(_CONFIG.format(size=size + 1_000_000, sink=sink))
    config = load(file)
    for name in ("run/metrics", "state", "spool"):
        (config.data_dir / name).mkdir(parents=True)
    state = EmbeddedServer(config.data_dir, max_memory=100_000_000)
    await state.start()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    port = listening.getsockname()[1]
    reading, writing = os.pipe()
    child = Child(slot="relay-0", state_url=state.url, ready_fd=writing, fds={"0": listening.detach()})
    serving = asyncio.create_task(run(config, child))
    await asyncio.to_thread(os.read, reading, 1)
    longest = _Longest()
    await asyncio.to_thread(_send, port, _HEAD + b"\r\nfirst\r\n")
    worst = 0.0
    every = messages(size)
    while (made := await asyncio.to_thread(next, every, None)) is not None:
        name, content = made
        if options.names and name not in options.names:
            continue
        longest.take()
        reply = await asyncio.to_thread(_send, port, content)
        await asyncio.sleep(0.5)
        seconds = longest.take()
        worst = max(worst, seconds)
        print(f"{name:24} {len(content) / 1e6:6.1f} MB {seconds * 1000:7.1f} ms  {reply[:60]}", flush=True)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await state.stop()
    return int(worst * 1000 > options.most)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blocking", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--most", type=float, default=50.0, help="milliseconds")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    program = shutil.which("smtp-sink", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        print("smtp-sink is missing (Debian package postfix)", file=sys.stderr)
        return 1
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sink = subprocess.Popen([program, *(["-u", "nobody"] if os.getuid() == 0 else []), f"127.0.0.1:{port}", "100"])
    try:
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_measure(options, Path(folder), port))
    finally:
        sink.kill()
        sink.wait()


if __name__ == "__main__":
    sys.exit(main())
