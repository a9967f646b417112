"""The first process: binds the sockets, runs the state server, starts the others and keeps them running.

It holds no mail and knows nothing of it, so that nothing in a message can bring it down. Its children end with it,
however it ends (state/tether.py); what a crash left behind is stopped by the next start.

    SIGTERM, SIGINT   stop in order: relays (after what is in flight), delivery, console, state server; 20 s at most
    SIGHUP            check configuration and policy; if they are in order the children read the policy again
    SIGUSR1           rolling restart: put a new process in the place of each, one by one; no message is lost
    SIGUSR2           drain: take no new mail, deliver what is queued, then stop

A role can run alone (`serve --role relay`): the same supervisor with that role only. Two supervisors never share a
data directory; roles that run apart share a state and a ledger server instead of the embedded ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from outbound_guard.config import Config, ConfigError, host_port, load, policy_of, state_url
from outbound_guard.metrics import Metrics, MetricsServer
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer
from outbound_guard.supervisor.child import Setting, stop_leftovers
from outbound_guard.supervisor.crew import STOPPED_AFTER, Crew
from outbound_guard.supervisor.lock import locked
from outbound_guard.supervisor.looking import LOOK, give_signs_of_life, look_at_disk, look_at_state
from outbound_guard.supervisor.sockets import bind_all, bound_address
from outbound_guard.supervisor.systemd import Systemd

_log = logging.getLogger(__name__)

ROLES = ("relay", "delivery", "console")
_STATE_STOP = 3.0


class Supervisor:
    """Runs the processes of some roles. `run` is all there is to call."""

    def __init__(
        self,
        config_path: Path,
        config: Config,
        roles: Sequence[str] = ROLES,
        *,
        child_argv: Sequence[str] = (sys.executable, "-m", "outbound_guard"),
    ) -> None:
        """`child_argv` is the program that children run, with `serve --config F --role R --slot N` behind it."""
        self._path, self._config, self._roles, self._program = config_path, config, tuple(roles), tuple(child_argv)
        self._run_dir = config.data_dir / "run"
        self._metrics_dir = self._run_dir / "metrics"
        self._turnover: asyncio.Task[None] | None = None
        self._wanted: Callable[[], Coroutine[Any, Any, None]] | None = None
        """The change that comes next."""
        self._draining = False
        self._systemd = Systemd()

    def run(self) -> int:
        """Serve until told to stop. 0: stopped as asked; 1: it could not start, and standard error says why."""
        try:
            asyncio.run(self._main())
        except ConfigError as error:
            print(f"outbound-guard: {error}", file=sys.stderr)
            return 1
        return 0

    async def _main(self) -> None:
        self._stop, self._changed = asyncio.Event(), asyncio.Event()
        # From the lock on there is somebody who can be told something; unheard, these would end the process.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _log.info, "starting: the policy is read anyway")
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._change_soon, self._roll)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self._change_soon, self._drain)
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(locked(self._config.data_dir))
            self._make_folders()
            self._metrics = Metrics(self._metrics_dir, "supervisor")
            stack.callback(self._metrics.close)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._stop_soon)
            stopped = await asyncio.to_thread(stop_leftovers, self._run_dir, self._path.absolute())
            listeners = self._config.listener if "relay" in self._roles else ()
            sockets = await bind_all((listener.address for listener in listeners), patient=stopped)
            console = await self._bind_console(patient=stopped)
            for listening in (*sockets, *console.values()):
                stack.callback(listening.close)
            self._sockets = sockets
            self._setting = Setting(
                program=self._program,
                config_path=self._path.absolute(),
                run=self._run_dir,
                sockets={
                    "relay": {str(index): listening.fileno() for index, listening in enumerate(sockets)},
                    "console": {name: listening.fileno() for name, listening in console.items()},
                },
                state_url=await self._start_state(stack),
                changed=self._on_change,
                crashed=lambda role: self._metrics.count("restarts_total", role),
            )
            state = await State.connect(
                self._setting.state_url, timeout=self._config.state.timeout, count=self._metrics.count
            )
            stack.push_async_callback(state.close)
            addresses: dict[str, object] = {"listeners": [bound_address(listening) for listening in sockets]}
            addresses |= {name: bound_address(listening) for name, listening in console.items()}
            if self._config.metrics.address:
                addresses["metrics"] = self._serve_metrics(stack, state)
            for work in (
                self._metrics.keep_flushing(),
                look_at_state(self._metrics, state),
                look_at_disk(self._metrics, self._config.data_dir),
            ):
                stack.push_async_callback(_cancel, asyncio.create_task(work))
            self._crew = Crew(self._setting, self._roles, self._config.server.relay_processes)
            stack.push_async_callback(self._stop_crew)
            self._start_crew()
            if await self._until_ready():
                self._announce(addresses)
                living = asyncio.create_task(give_signs_of_life(self._systemd, self._ailing))
                stack.push_async_callback(_cancel, living)
                self._turnover = asyncio.create_task(self._change(), name="changes")
                await self._stop.wait()

    async def _bind_console(self, *, patient: bool) -> dict[str, socket.socket]:
        """What the console process listens on, by the name of its table in the configuration."""
        wanted = {"console": self._config.console.address, "feedback": self._config.feedback.address}
        bound = {}
        for name, address in wanted.items():
            if address and "console" in self._roles:
                (bound[name],) = await bind_all([address], patient=patient, setting=f"{name}.address")
        return bound

    def _make_folders(self) -> None:
        """Make the folders of the data directory, and empty what only a running service means."""
        shutil.rmtree(self._metrics_dir, ignore_errors=True)
        for folder in (
            self._run_dir,
            self._metrics_dir,
            *(self._config.data_dir / name for name in ("state", "spool")),
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._run_dir / "addresses.json").unlink(missing_ok=True)

    async def _start_state(self, stack: contextlib.AsyncExitStack) -> str:
        """Start the state server if it is ours to run; its URL."""
        if self._config.state.url != "embedded":
            return state_url(self._config)
        server = EmbeddedServer(
            self._config.data_dir,
            max_memory=self._config.state.max_memory,
            on_restart=lambda: self._metrics.count("restarts_total", "state"),
        )
        stack.push_async_callback(server.stop, _STATE_STOP)
        if not await server.start():
            _log.warning("the state server does not answer yet; mail goes on without it")
        return server.url

    def _serve_metrics(self, stack: contextlib.AsyncExitStack, state: State) -> str:
        address = self._config.metrics.address
        try:
            server = MetricsServer(*host_port(address), self._metrics_dir, lambda: self._readiness(state), self._taking)
        except (OSError, ValueError) as error:
            raise ConfigError(f"metrics.address: {address}: {error}") from error
        stack.callback(server.stop)
        return server.address

    def _readiness(self, state: State) -> tuple[bool, str]:
        """Whether everything is there, and what is missing. Called from the threads of the metrics server."""
        if going := self._going():
            return False, going
        missing = self._crew.waiting()
        if not state.up:
            missing.append("state")
        return (False, f"waiting for {', '.join(missing)}") if missing else (True, "ready")

    def _taking(self) -> tuple[bool, str]:
        """Whether mail is taken: what a load balancer goes by, since mail goes on without the other parts."""
        why = self._going() or self._ailing()
        return not why, why or "taking mail"

    def _going(self) -> str:
        return "draining" if self._draining else "stopping" if self._stop.is_set() else ""

    def _start_crew(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        self._crew.start()

    async def _until_ready(self) -> bool:
        """Wait until all children are ready (True) or the end has come first (False)."""
        while not self._stop.is_set() and self._crew.waiting():
            self._changed.clear()
            await self._changed.wait()
        return not self._stop.is_set()

    def _announce(self, addresses: dict[str, object]) -> None:
        """Say that mail is taken: on standard output, and to programs in run/addresses.json."""
        file = self._run_dir / "addresses.json"
        part = file.with_suffix(".new")
        part.write_text(json.dumps(addresses), encoding="utf-8")
        part.replace(file)
        listeners = addresses["listeners"]
        where = f"listening on {', '.join(listeners)}" if isinstance(listeners, list) and listeners else "running"
        self._systemd.tell("READY=1", status=where)
        print(f"ready: {where}", flush=True)

    def _stop_soon(self) -> None:
        """SIGTERM, SIGINT."""
        self._stop.set()
        self._changed.set()

    def _on_change(self) -> None:
        for role in self._roles:
            ready = sum(child.ready.is_set() for child in self._crew.of(role))
            self._metrics.gauge("processes", ready, role)
        self._changed.set()

    def _ailing(self) -> str:
        """What is so wrong that nothing but a new start of everything may help; empty if nothing is."""
        role = self._roles[0]
        well = self._going() or any(child.ready.is_set() for child in self._crew.of(role))
        return "" if well else f"no {role} process is ready"

    def _reload(self) -> None:
        """SIGHUP. What is in order goes to the children; anything else changes nothing and is said."""
        self._systemd.reloading()
        if self._in_order("reloaded"):
            _log.info("reloading the policy")
            for child in self._crew:
                child.reload()
        self._systemd.tell("READY=1")

    def _in_order(self, wanted: str) -> bool:
        """True if configuration and policy can be used as they are now."""
        try:
            policy_of(load(self._path))
        except ConfigError as error:
            self._metrics.count("config_reloads_total", "refused")
            _log.error("not %s, everything stays as it was: %s", wanted, error)
            return False
        self._metrics.count("config_reloads_total", "ok")
        return True

    def _change_soon(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """SIGUSR1, SIGUSR2. One at a time, the next when this is done, the first when all are ready."""
        # A drain ends in a stop: nothing comes after it.
        if self._draining or self._wanted == self._drain:
            _log.warning("this node is being drained, nothing else is begun")
            return
        self._wanted = change
        if self._turnover and self._turnover.done():
            self._turnover = asyncio.create_task(self._change(), name="changes")
        else:
            _log.warning("this waits until what is under way is done")

    async def _change(self) -> None:
        while (change := self._wanted) and not self._stop.is_set():
            self._wanted = None
            await change()

    async def _roll(self) -> None:
        """A rolling restart, by which a new version or configuration takes effect."""
        if self._in_order("restarted") and await self._crew.roll():
            _log.info("rolling restart done")

    async def _drain(self) -> None:
        """Take no new mail, wait until what is queued has been delivered, and stop.

        What is held stays on the disk and is released here when it starts again, or elsewhere with a copy of the spool.
        """
        self._draining = True
        _log.info("draining: no new mail is taken")
        for listening in self._sockets:
            listening.close()
        await self._crew.stop("relay", STOPPED_AFTER["relay"])
        self._on_change()
        spool = self._config.data_dir / "spool"
        while left := await asyncio.to_thread(_queued, spool):
            self._metrics.gauge("draining", left)
            self._systemd.tell(status=f"draining: {left} queued")
            await asyncio.sleep(LOOK)
        self._metrics.gauge("draining", 0)
        _log.info("drained: nothing is queued")
        self._stop_soon()

    async def _stop_crew(self) -> None:
        self._stop.set()
        self._systemd.tell("STOPPING=1", status="stopping: messages in flight are finished")
        if self._turnover:
            self._turnover.cancel()
            await asyncio.gather(self._turnover, return_exceptions=True)
        await self._crew.stop_all()


def _queued(spool: Path) -> int:
    """How many messages wait to be delivered."""
    # In this order a message that moves from one to the other is not overlooked.
    return sum(len(os.listdir(spool / state)) for state in ("incoming", "queue") if (spool / state).is_dir())


async def _cancel(work: asyncio.Task[None]) -> None:
    """End a piece of background work, and say so if it had failed."""
    work.cancel()
    try:
        await work
    except asyncio.CancelledError:
        return
    except Exception:
        _log.exception("background work had failed")
