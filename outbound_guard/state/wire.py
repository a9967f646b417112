"""One connection to the store. redis-py opens it (URL, TLS, AUTH, SELECT) and its parser reads; the traffic is ours.

redis-py takes a connection for every caller at a time and awaits each reply by itself. Here all calls of one loop turn
leave in one write and the replies are handed out in order, which costs a third of its pipelines' CPU time and a sixth
of its single calls'.

Private names of redis-py relied on, all in `open_wire`, pinned by tests/integration/test_state_client.py:
`Connection._writer`, `Connection._reader`, `Connection._parser._reader`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

import hiredis
from redis import exceptions
from redis.asyncio import ConnectionPool

FAILURES = (exceptions.RedisError, OSError, TimeoutError)
"""What opening a wire or talking over it raises."""
_CANNOT_SERVE = (
    exceptions.ConnectionError,  # BusyLoadingError is one of these.
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
)

Value = bytes | str | int | float

pack = cast("Callable[[tuple[Value, ...]], bytes]", hiredis.pack_command)
"""One command as octets. redis-py's own way there takes twice as long."""


class _Reader(Protocol):
    """hiredis' parser, as redis-py made it: error replies come out as redis-py's exceptions."""

    def feed(self, octets: bytes) -> None: ...

    def gets(self, decode: bool) -> Any: ...


class Wire(asyncio.Protocol):
    """An open connection that belongs to its State alone."""

    def __init__(self, writer: asyncio.StreamWriter, reader: _Reader, *, whole: bool) -> None:
        """`whole`: the server takes keys of several hash slots in one call."""
        self.whole = whole
        # StreamWriter closes its transport when it is collected, so it is kept though it is not used.
        self._writer = writer
        self._transport = cast(asyncio.Transport, writer.transport)
        self._reader = reader
        # What redis-py set up for "no whole reply yet" is what an empty parser answers.
        self._nothing = reader.gets(False)
        self._on_reply: Callable[[Any], None] = lambda _: None
        self._on_lost: Callable[[], None] = lambda: None

    def start(self, on_reply: Callable[[Any], None], on_lost: Callable[[], None]) -> None:
        """Hand every reply, exceptions included, to `on_reply` in order; call `on_lost` once when it is over."""
        self._on_reply, self._on_lost = on_reply, on_lost
        self._transport.set_protocol(self)
        if self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self.connection_lost, None)

    def write(self, commands: Sequence[bytes]) -> None:
        """Send packed commands."""
        self._transport.write(b"".join(commands))

    def abort(self) -> None:
        """Close at once; `on_lost` is not called any more."""
        self._on_reply, self._on_lost = lambda _: None, lambda: None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are complete."""
        reader, nothing = self._reader, self._nothing
        try:
            reader.feed(data)
            while (reply := reader.gets(False)) is not nothing:
                self._on_reply(reply)
        except exceptions.InvalidResponse:
            # What speaks here is not Redis.
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that it is over."""
        on_lost, self._on_lost = self._on_lost, lambda: None
        on_lost()


async def open_wire(url: str, limit: float, scripts: Sequence[str]) -> Wire:
    """Connect within `limit` seconds, see that the server answers, takes writes and knows the scripts.

    Raises FAILURES.
    """
    pool: Any = ConnectionPool.from_url(url, protocol=2, socket_connect_timeout=limit, socket_timeout=limit)
    connection = pool.make_connection()
    try:
        async with asyncio.timeout(limit):
            await connection.connect()
            for command in (("PING",), *(("SCRIPT", "LOAD", text) for text in scripts)):
                await connection.send_command(*command)
                await connection.read_response()
            await _see_that_it_is_no_replica(connection)
            whole = await _takes_keys_of_several_slots(connection)
        # The connection gives its stream away and is left with nothing to close.
        writer, reader = connection._writer, connection._parser._reader
        connection._writer = connection._reader = None
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return Wire(writer, reader, whole=whole)


async def _see_that_it_is_no_replica(connection: Any) -> None:
    await connection.send_command("ROLE")
    try:
        role = await connection.read_response()
    except exceptions.ResponseError:
        return  # It may not be asked, or a proxy does not know that; what it refuses later is noticed.
    if role and role[0] == b"slave":
        raise exceptions.ReadOnlyError("it is a replica, which takes no writes")


async def _takes_keys_of_several_slots(connection: Any) -> bool:
    """False for a part of a cluster, also if it lies behind a proxy or was named as if it were a single server."""
    await connection.send_command("EVAL", "return 1", 2, "{a}", "{b}")
    try:
        return bool(await connection.read_response() == 1)
    except exceptions.ResponseError:
        return False


class Moved(NamedTuple):
    """Where a cluster wants to have a command sent instead."""

    slot: int
    """-1: to the same server, a moment later."""
    host: str
    """Empty: the host that said so."""
    port: int
    asking: bool
    """Only this command, and after ASKING."""


def moved(error: Exception) -> Moved | None:
    """Where else a command belongs, if that is why it was refused."""
    if isinstance(error, exceptions.AskError):  # MovedError is one of these.
        return Moved(error.slot_id, error.host, error.port, not isinstance(error, exceptions.MovedError))
    return Moved(-1, "", 0, False) if isinstance(error, exceptions.TryAgainError) else None


def is_read_only(error: Exception) -> bool:
    """True if the server is a replica (by now). Older servers say so in the midst of a script's error."""
    return isinstance(error, exceptions.ReadOnlyError) or "-READONLY" in str(error)


def is_missing_script(error: Exception) -> bool:
    """True if the server does not know a script (any more): it was restarted, or failed over."""
    return isinstance(error, exceptions.NoScriptError)


def cannot_serve(error: Exception) -> bool:
    """True if the reply is about the server's state (loading, read-only, full), not about the command."""
    return isinstance(error, _CANNOT_SERVE) or str(error).startswith(("MISCONF", "BUSY", "NOREPLICAS", "OOM"))
