"""Runs every dialogue of this folder against a live edge, on the loop of asyncio and on uvloop.

A dialogue is a text file:
    # comment
    @ limits.errors = 3       a setting, as in the configuration file
    C: EHLO a                 the client sends this line; lines in a row go out in one write
    C+ a\\nb                  the same without CRLF behind it; \\r \\n \\0 \\xff as in Python
    S: 250 2.1.0              the server's next reply starts so
    S~ 250-SIZE \\d+          ... or contains this regular expression (lines are divided by \\n)
    TLS                       the client shakes hands, as after STARTTLS
    EOF                       the client sends no more
    CLOSED                    the server closes the connection, and has said nothing else
    MESSAGES 2                so many messages have been accepted by the end
    M1 content: a\\r\\n       a field of the first of them
    ASKED alice               who `admit` has been asked about by the end
Every reply must carry an enhanced status code, except where RFC 2034 has none.
"""

from __future__ import annotations

import asyncio
import codecs
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.live_edge import Client, LiveEdge

FOLDER = Path(__file__).parent
DIALOGS = sorted(FOLDER.glob("*.txt"))
CODED = re.compile(r"(?:[245]\d\d[ -]\d\.\d{1,3}\.\d{1,3} .*\n?)+")
PLAIN = re.compile(r"(?:220 guard\.test ESMTP|250[ -]guard\.test(?:\n.*)*|334 .*|354 .*)")


def octets(text: str) -> bytes:
    return codecs.decode(text.encode(), "unicode_escape").encode("latin-1")


def settings(lines: list[str]) -> dict[str, Any]:
    return tomllib.loads("\n".join(line[1:] for line in lines if line.startswith("@")))


class Play:
    """One dialogue being run."""

    def __init__(self, edge: LiveEdge, client: Client) -> None:
        self.edge, self.client = edge, client
        self.unsent = b""

    async def line(self, line: str) -> None:
        if line.startswith("C: "):
            self.unsent += octets(line[3:]) + b"\r\n"
            return
        if line.startswith("C+ "):
            self.unsent += octets(line[3:])
            return
        if self.unsent:
            self.client.send(self.unsent)
            self.unsent = b""
        if line.startswith(("S: ", "S~ ")):
            reply = await self.client.reply()
            assert CODED.fullmatch(reply) or PLAIN.fullmatch(reply), f"odd reply {reply!r}"
            fits = reply.startswith(line[3:]) if line[1] == ":" else re.search(line[3:], reply)
            assert fits, f"got {reply!r}"
        elif line == "TLS":
            await self.client.start_tls()
        elif line == "EOF":
            self.client.writer.write_eof()
        elif line == "CLOSED":
            assert await self.client.reply() == ""
        elif line.startswith("MESSAGES "):
            assert len(self.edge.messages) == int(line[9:])
        elif line.startswith("ASKED "):
            assert self.edge.asked == line[6:].split()
        elif found := re.fullmatch(r"M(\d+) (\w+): ?(.*)", line):
            message = self.edge.messages[int(found[1]) - 1]
            value = getattr(message.envelope if hasattr(message.envelope, found[2]) else message, found[2])
            if isinstance(value, bytes):
                assert value == octets(found[3])
            else:
                assert (" ".join(value) if isinstance(value, tuple) else str(value)) == found[3]
        else:
            raise AssertionError("no such line")


async def run(name: str, lines: list[str], folder: Path) -> None:
    async with LiveEdge(folder, settings(lines)) as edge:
        client = await Client.connect(edge)
        play = Play(edge, client)
        try:
            for number, line in enumerate(lines, 1):
                if not line or line[0] in "#@":
                    continue
                try:
                    async with asyncio.timeout(30):
                        await play.line(line)
                except (AssertionError, TimeoutError, ValueError) as error:
                    raise AssertionError(f"{name}:{number}: {line}: {error!r}") from error
            assert not play.unsent, "the file ends before what it sends is answered"
        finally:
            await client.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
def test_dialogue(path: Path, loop: str, tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop) as runner:
        runner.run(run(path.name, path.read_text(encoding="utf-8").splitlines(), tmp_path))


def test_there_are_dialogues() -> None:
    assert len(DIALOGS) > 20


@pytest.mark.parametrize(
    "text",
    [
        "S: 221",
        "S: 220\nC: NOOP\nS: 500",
        "S: 220\nC: NOOP",
        "S: 220\nMESSAGES 1",
        "S: 220\nCLOSE",
        "S: 220\nC: QUIT\nCLOSED",
    ],
)
def test_a_wrong_dialogue_fails(text: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError), asyncio.Runner() as runner:
        runner.run(run("wrong", text.splitlines(), tmp_path))
