"""Command lines and messages out of the octets of one connection, and the loop that carries them out."""

from __future__ import annotations

import abc
import asyncio
import logging
from typing import cast

from outbound_guard.edge import answers
from outbound_guard.edge.data import DataReader
from outbound_guard.edge.ends import BadLine, Closed
from outbound_guard.edge.wire import Wire

log = logging.getLogger(__name__)

_LONGEST_LINE = 12_288
"""Octets of a command line without its end. RFC 4954 4 asks for this much for AUTH; RFC 5321 4.5.3.1.4 for 512."""
COMMANDS_AT_ONCE = 100
"""Commands carried out until the other sessions get their turn."""


class Lines(Wire):
    """What a client says, line by line and message by message."""

    async def read_line(self) -> bytes:
        """The next command line, without its end; or an empty one, if a message has come in. Raises BadLine, Closed."""
        buffer = self.unread
        if self.gone:
            raise Closed
        if self.terms.sessions.stopping and self.at_rest:
            self.say(answers.STOPPING)
            raise Closed
        self._turns += 1
        if self._turns > COMMANDS_AT_ONCE:
            self._turns = 0
            self.flush()
            await self._writable()
            await asyncio.sleep(0)
        while (end := buffer.find(b"\r\n")) < 0:
            if buffer:
                self._look_at_unfinished_line()
            # The whole line must come within the time, not only its next octet (RFC 5321 4.5.3.2).
            await self.wait(self._line_since if buffer else 0.0)
            if self._message is not None and self._incoming is None:
                return b""
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        if b"\n" in line or b"\r" in line:
            self._refuse_bare_line_end()
        if self._line_too_long or end > _LONGEST_LINE:
            self._line_too_long = False
            raise BadLine(answers.LINE_TOO_LONG)
        return line

    def _look_at_unfinished_line(self) -> None:
        buffer = self.unread
        if b"\n" in buffer or b"\r" in buffer[:-1]:
            self._refuse_bare_line_end()
        if len(buffer) > _LONGEST_LINE:
            self._line_too_long = True
            # The last octet may be the CR of its end.
            del buffer[:-1]

    async def readline(self) -> bytes:
        """The same for aiosmtpd's own methods."""
        return await self.read_line()

    @property
    def _reader(self) -> Wire:  # type: ignore[override]  # aiosmtpd has an attribute, a StreamReader.
        return self

    def begin_message(self, early: bytes) -> None:
        """What comes in from now on is a message; `early` has come already."""
        reader = DataReader(self.terms.limits.message_size, self.terms.sessions.room)
        if not early or not reader.feed(early):
            self._heard = self._started = self.loop.time()
            self._incoming = reader
        self._message = reader

    async def read_message(self) -> DataReader:
        """Everything up to the end of data; the caller closes it. Raises Closed."""
        early = bytes(self.unread)
        self.unread.clear()
        self.begin_message(early)
        while self._incoming is not None:
            await self.wait()
        return self._whole_message()

    def _whole_message(self) -> DataReader:
        reader, self._message = cast(DataReader, self._message), None
        # What came later than the end of data lies in the buffer already.
        self.unread[:0] = reader.rest
        return reader

    # -- The loop ----------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    async def obey(self, line: bytes) -> None:
        """Carry out one command line."""

    @abc.abstractmethod
    async def take(self, reader: DataReader) -> None:
        """Answer a message that has been read to its end."""

    async def _handle_client(self) -> None:
        try:
            self.say(self.terms.greeting)
            while True:
                try:
                    self._hears_commands = True
                    line = await self.read_line()
                    self._hears_commands = False
                    if self._message is None:
                        await self.obey(line)
                    else:
                        await self.take(self._whole_message())
                except BadLine as bad:
                    self.wrong(bad.answer, "syntax")
                except Closed:
                    raise
                except Exception as error:
                    await self.push(await self.handle_exception(error))
        except Closed:
            pass
        except Exception:
            log.exception("SMTP session with %s failed", self.client_ip)
            self.terms.count("smtp_faults_total", "session")
            self.say(answers.SESSION_FAULT)
        finally:
            if self._message is not None:
                self._message.close()
        self.flush()
        self._hang_up()

    @abc.abstractmethod
    def wrong(self, answer: bytes, reason: str) -> None:
        """Answer a wrong command, and close the session after too many of them."""

    async def handle_exception(self, error: Exception) -> str:
        """A fault of ours is logged and answered with 451, never with 5xx, and tells the client nothing."""
        log.error("SMTP command from %s failed", self.client_ip, exc_info=error)
        self.terms.count("smtp_faults_total", "command")
        return answers.FAULT.decode().rstrip("\r\n")

    def _refuse_bare_line_end(self) -> None:
        # Whether it ends a line is what a smuggler and we would disagree about; nothing that follows is read.
        self.say(answers.BARE_LINE_END)
        self.terms.count("smtp_commands_refused_total", "line_end")
        raise Closed
