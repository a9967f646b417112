"""What tests/integration/test_supervisor.py runs: the supervisor (argument `run`), or one of its children (`serve`).

A child answers every connection with its slot and process id, counts, and writes what happens to it into a file.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

from outbound_guard import config, maillog
from outbound_guard.metrics import Metrics
from outbound_guard.state import State, leftover, tether


def run(path: Path, roles: list[str]) -> int:
    from outbound_guard import supervisor
    from outbound_guard.supervisor import crew

    maillog.set_up()
    # The real times are for real mail.
    crew.STOPPED_AFTER.update(relay=1.0, delivery=2.0, console=3.0)
    leftover._GRACE = 1.0
    argv = (sys.executable, __file__)
    return supervisor.Supervisor(path, config.load(path), roles or supervisor.ROLES, child_argv=argv).run()


async def serve(path: Path) -> None:
    told = json.loads(os.environ["OUTBOUND_GUARD_CHILD"])
    slot = told["slot"]
    settings = config.load(path)
    diary = settings.data_dir / "diary"

    def note(what: str) -> None:
        with diary.open("a") as file:
            file.write(f"{slot} {what}\n")

    tether.tie(told["parent"])
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    deaf = (settings.data_dir / f"{slot}.deaf").exists()
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if deaf else stop.set)
    loop.add_signal_handler(signal.SIGHUP, note, "reload")
    metrics = Metrics(settings.data_dir / "run" / "metrics", slot)
    state = await State.connect(told["state_url"], timeout=5, count=metrics.count)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        metrics.count("deliveries_total", "accepted")
        metrics.flush()
        writer.write(f"{slot} {os.getpid()}\n".encode())
        writer.close()

    servers = [await asyncio.start_server(answer, sock=socket.socket(fileno=fd)) for fd in told["fds"].values()]
    metrics.gauge("sessions", 1)
    metrics.flush()
    note("ready")
    os.write(told["ready_fd"], b"1")
    await stop.wait()
    for server in servers:
        server.close()
    # Connections that were accepted before are still on their way to `answer`.
    for _ in range(1000):
        if len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0.01)
    await state.close()
    metrics.close()
    note("stopped")


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[0] == "run":
        sys.exit(run(Path(words[1]), words[2:]))
    asyncio.run(serve(Path(words[words.index("--config") + 1])))
