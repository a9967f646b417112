"""Every file that people write: any octets are a configuration or a ConfigError that names the file, nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard.blocklist import channels, lists
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config, ConfigError, Policy, load, load_policy
from outbound_guard.config.used import digest
from outbound_guard.delivery import answers
from outbound_guard.edge import Passwords
from tests.fuzz.target import TESTS, Choices, Target, files, holds, scratch


def _passwords(path: Path) -> Passwords:
    found = Passwords(path, VirtualClock(0.0))
    found.close()
    return found


READERS: tuple[tuple[str, Callable[[Path], Any]], ...] = (
    ("guard.toml", load),
    ("policy.toml", load_policy),
    ("lists.toml", lists.described),
    ("channels.toml", channels.load),
    ("answers.toml", answers.load),
    ("passwords", _passwords),
)


@functools.cache
def _folder() -> Path:
    folder = scratch() / "config"
    folder.mkdir(exist_ok=True)
    return folder


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    name, read = choices.one(READERS)
    path = _folder() / name
    path.write_bytes(choices.rest())
    try:
        found = read(path)
    except ConfigError as error:
        text = str(error)
        holds(str(path) in text, "does not say where", text)
        return
    if isinstance(found, Config):
        holds(found.path == str(path), found.path)
        holds(found.delivery.mode != "smarthost" or found.delivery.pool, "swallows mail")
        # It can be kept and read again.
        holds(msgspec.convert(msgspec.to_builtins(found), Config) == found, path.read_bytes())
    elif isinstance(found, Policy):
        holds(digest(found) == digest(msgspec.convert(msgspec.to_builtins(found), Policy)), path.read_bytes())


def seeds() -> Iterator[bytes]:
    root = TESTS.parent
    yield b"\0" + (root / "config/outbound-guard.toml").read_bytes()[:4000]
    yield b"\0[[delivery.pool]]\nsmarthosts = ['127.0.0.1:25']\n[[listener]]\naddress = '127.0.0.1:0'\n"
    yield b"\1" + (root / "config/policy.toml").read_bytes()[:4000]
    for content in files("bad_configs", "[!p]*.toml"):
        yield b"\0" + content
    for content in files("bad_configs", "policy.*.toml"):
        yield b"\1" + content
    package = root / "outbound_guard"
    for number, pattern in (
        (2, "blocklist/*lists*.toml"),
        (3, "blocklist/channels*.toml"),
        (4, "delivery/answers.toml"),
    ):
        for path in sorted(package.glob(pattern)):
            yield bytes([number]) + path.read_bytes()[:4000]
    yield b"\2[[list]]\nzone = 'bl.example'\nkind = 'ip'\nscope = 'address'\ncodes = {'127.0.0.2' = 'x'}\n"
    yield b"\5alice:$2b$04$" + b"a" * 53 + b"\n# x\nbob:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g\n"


WORDS = (
    *(
        b"\n",
        b"[",
        b"]",
        b"[[",
        b"]]",
        b"=",
        b" = ",
        b'"',
        b"'",
        b"{",
        b"}",
        b"#",
        b"\\",
        b"\0",
        b"\xff",
        b"true",
        b"1e400",
    ),
    *(b"nan", b"-1", b"inf", b"99999999999999999999", b"1979-05-27T07:32:00Z", b"07:32:00", b"0x7f", b"[server]\n"),
    *(
        b"[[listener]]\n",
        b"[delivery]\n",
        b"[[delivery.pool]]\n",
        b"[limits]\n",
        b"[[identity]]\n",
        b"[auth]\n",
        b"[dns]\n",
    ),
    *(b"[limit.sender.x]\n", b"[signal.content]\n", b"[[allow]]\n", b"[[scanner]]\n", b"[[list]]\n", b"[[channel]]\n"),
    *(b'from = "header:X"\n', b"pattern = '(.)'\n", b'address = "127.0.0.1:0"\n', b"a.b", b'"a.b"', b"x[0]", b"`"),
)
TARGET = Target(attempt, seeds, WORDS, lead=1, longest=4096)
