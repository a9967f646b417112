"""A real Exim of one's own, in a folder of its own: a customer's server that relays to us.

Its Debian package cannot be installed beside Postfix's, so scripts/test unpacks it into build/exim. The configuration
is Debian's own, from the same packages, with the files of deploy/mta put in where they belong.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.postfix import free_port, listens
from tests.product import until

ROOT = Path(__file__).resolve().parents[1]
UNPACKED = ROOT / "build" / "exim"
_PROGRAM = UNPACKED / "usr/sbin/exim4"
_USER = "Debian-exim"


def _works() -> bool:
    try:
        pwd.getpwnam(_USER)
        return subprocess.run([_PROGRAM, "-C", "/dev/null", "-bV"], capture_output=True).returncode == 0
    except (OSError, KeyError):
        return False


REQUIRED = [
    pytest.mark.skipif(os.getuid() != 0, reason="Exim is started by root only"),
    pytest.mark.skipif(not _works(), reason="Exim is not unpacked in build/exim (scripts/test does it)"),
]

_MACROS = """
DCconfig_internet = 1
DC_eximconfig_configtype = internet
DC_minimaldns = 1
CONFDIR = {folder}
SPOOLDIR = {folder}/spool
ETC_MAILNAME = {name}
MAIN_HARDCODE_PRIMARY_HOSTNAME = {name}
MAIN_LOCAL_DOMAINS = {name} : {mailboxes}
MAIN_RELAY_TO_DOMAINS =
MAIN_RELAY_NETS = 127.0.0.1
LOCAL_DELIVERY = mail_spool
MAIN_LOCAL_INTERFACES = <; [127.0.0.1]:{port}
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/pid
host_lookup =
rfc1413_query_timeout = 0s
CHECK_RCPT_LOCAL_LOCALPARTS =
CHECK_RCPT_REMOTE_LOCALPARTS =
"""
_MAILBOXES = """
test_mailboxes:
  driver = accept
  domains = {mailboxes}
  local_parts = anna : carl : eve : web66
  transport = test_mailboxes
"""
_MAILBOX = """
test_mailboxes:
  driver = appendfile
  file = {folder}/mailboxes/$local_part_data
  user = Debian-exim
  return_path_add
"""
_LOGIN = """
test_server:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if eq{$auth3}{secret}}
  server_set_id = $auth2
"""


class Exim:
    """A running one. `address` is where it takes mail; every login is accepted with the password `secret`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.config = folder / "exim4.conf"
        self.mailboxes = folder / "mailboxes"

    def run(self, *words: str, stdin: bytes = b"", user: str | None = None) -> str:
        """Run the program with these arguments, as it is run on such a server; what it prints."""
        command = [_PROGRAM, "-C", str(self.config), *words]
        done = subprocess.run(command, input=stdin, capture_output=True, user=user, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr, self.said())
        return done.stdout.decode()

    def configure(self, text: str) -> None:
        """Change its configuration; each delivery is a program of its own, and reads it anew."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)

    def queue(self) -> list[str]:
        """The ids of the messages in the queue."""
        return [line.split()[2] for line in self.run("-bp").splitlines() if line[:4].strip() and len(line.split()) > 2]

    def mailbox(self, name: str) -> str:
        """What has come into a local mailbox."""
        file = self.mailboxes / name
        return file.read_text() if file.exists() else ""

    def said(self) -> str:
        """Its logs."""
        return "\n".join(file.read_text(errors="replace") for file in sorted((self.folder / "log").glob("*")))


@contextmanager
def exim(name: str, files: Mapping[str, str], passwd_client: str, mailboxes: str = "") -> Iterator[Exim]:
    """Run one that is called `name`, with Debian's configuration and `files` (path below conf.d -> text).

    `passwd_client` is the file of that name; a file auth/90_own stands in for Debian's authenticators. Mail for the
    domains `mailboxes` is kept in a file for each of some local parts.
    """
    # Its processes run under another user, who could not enter pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="exim-"))
    folder.chmod(0o755)
    one = Exim(folder, free_port())
    owner = pwd.getpwnam(_USER)
    for part in ("spool", "log", "mailboxes"):
        (folder / part).mkdir()
        os.chown(folder / part, owner.pw_uid, owner.pw_gid)
    (folder / "passwd.client").write_text(passwd_client)
    confd = folder / "conf.d"
    shutil.copytree(UNPACKED / "etc/exim4/conf.d", confd)
    words = {"folder": folder, "name": name, "port": one.port, "mailboxes": mailboxes or "none.invalid"}
    own = {
        "main/000_test": _MACROS.format(**words),
        "router/160_test": _MAILBOXES.format(**words),
        "transport/99_test": _MAILBOX.format(**words),
        "auth/99_test": _LOGIN,
        **files,
    }
    for path, text in own.items():
        (confd / path).write_text(text)
    if "auth/90_own" in files:
        (confd / "auth/30_exim4-config_examples").unlink()
    # As update-exim4.conf puts them together.
    sections = ("main", "acl", "router", "transport", "retry", "rewrite", "auth")
    parts = [file.read_text() for section in sections for file in sorted((confd / section).iterdir())]
    text = "\n".join(parts).replace("exim_path = /usr/sbin/exim4", f"exim_path = {_PROGRAM}")
    (folder / "email-addresses").touch()
    text = text.replace("/etc/email-addresses", f"{folder}/email-addresses")
    one.config.write_text(text.replace("F,2h,15m", "F,2h,2s"))
    daemon = subprocess.Popen(
        [_PROGRAM, "-C", one.config, "-bdf", "-q1s"], stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: daemon.poll() is not None or listens(one.port), lambda: f"{name} listens: {one.said()}")
        assert daemon.poll() is None, one.said()
        yield one
    finally:
        with suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)
