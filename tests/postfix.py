"""A real Postfix of one's own, in a folder of its own: as a customer's server that relays to us, or as our next hop."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.product import until

REQUIRED = [
    pytest.mark.skipif(not shutil.which("postfix", path="/usr/sbin:/sbin"), reason="Postfix is not installed"),
    pytest.mark.skipif(os.getuid() != 0, reason="Postfix is started by root only"),
]

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = {name}
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{relayhost}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
minimal_backoff_time = 2s
maximal_backoff_time = 2s
queue_run_delay = 2s
notify_classes =
biff = no
{more}
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
showq unix n - n - - showq
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 2 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One in `folder`, which takes mail on `port` as soon as it is started."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.port = name, folder, free_port()
        self.within: list[str] = []
        """The words of a command that it is started by, if any."""

    def start(self, more: str, relayhost: int = 0) -> None:
        """Start it with `more` in its main.cf, and, if that names no other, this port as its relay host."""
        main = _MAIN.format(folder=self.folder, name=self.name, relayhost=relayhost, more=more)
        if not relayhost:
            main = main.replace("relayhost = [127.0.0.1]:0\n", "")
        (self.folder / "main.cf").write_text(main)
        (self.folder / "master.cf").write_text(_MASTER.format(port=self.port))
        started = self._postfix("start")
        assert started.returncode == 0, started.stderr
        until(lambda: listens(self.port), lambda: f"{self.name} listens: {self.said()}")

    def set(self, line: str) -> None:
        """Change a line of its main.cf."""
        self.run("postconf", "-e", line)
        assert self._postfix("reload").returncode == 0, self.said()

    def stop(self) -> None:
        """Stop it."""
        assert self._postfix("stop").returncode == 0, self.said()

    def run(self, program: str, *words: str, stdin: bytes = b"") -> str:
        """Run one of Postfix's commands on it; what it prints."""
        done = subprocess.run([_found(program), "-c", self.folder, *words], input=stdin, capture_output=True)
        assert done.returncode == 0, (program, words, done.stderr, self.said())
        return done.stdout.decode()

    def sendmail(self, uid: int, mail_from: str, to: str, content: bytes) -> None:
        """Hand a message in by sendmail(1), as a program of this system user does."""
        # Only root may name another configuration, so root writes the file, in a queue that nobody serves.
        aside = self.folder / "aside"
        for part in ("spool/maildrop", "spool/public"):
            (aside / part).mkdir(parents=True, exist_ok=True)
        main = _MAIN.format(folder=aside, name=self.name, relayhost=0, more="")
        (aside / "main.cf").write_text(main)
        command = [_found("sendmail"), "-C", aside, "-f", mail_from, "-i", to]
        done = subprocess.run(command, input=content.replace(b"\r\n", b"\n"), capture_output=True)
        assert done.returncode == 0, done.stderr
        [file] = (aside / "spool/maildrop").iterdir()
        os.chown(file, uid, -1)
        file.rename(self.folder / "spool/maildrop" / file.name)

    def said(self) -> str:
        """Its log."""
        log = self.folder / "mail.log"
        return log.read_text(errors="replace")[-5000:] if log.exists() else ""

    def _postfix(self, word: str) -> subprocess.CompletedProcess[str]:
        command = [*self.within, _found("postfix"), "-c", str(self.folder), word]
        return subprocess.run(command, capture_output=True, text=True)


@contextmanager
def postfix_at(name: str) -> Iterator[Postfix]:
    """One that is not started yet, in a folder of its own."""
    # Its processes run under another user, who could not enter pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    folder.chmod(0o755)
    for part in ("spool", "data"):
        (folder / part).mkdir()
    os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
    (folder / "main.cf").touch()
    one = Postfix(name, folder)
    try:
        yield one
    finally:
        if (folder / "master.cf").exists():
            one.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postfix(name: str, relayhost: int, more: str = "") -> Iterator[str]:
    """Run one that takes mail from this machine and relays all of it to that port; its own HOST:PORT.

    `more` is put into its main.cf.
    """
    with postfix_at(name) as one:
        one.start(more, relayhost)
        yield f"127.0.0.1:{one.port}"


def _found(program: str) -> str:
    return shutil.which(program, path="/usr/sbin:/sbin:/usr/bin") or program


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def listens(port: int) -> bool:
    """True if somebody listens on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
