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


@contextmanager
def postfix(name: str, relayhost: int, more: str = "") -> Iterator[str]:
    """Run one that takes mail from this machine and relays all of it to that port; its own HOST:PORT.

    `more` is put into its main.cf.
    """
    # Its processes run under another user, who could not enter pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    for part in ("spool", "data"):
        (folder / part).mkdir()
    os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
    (folder / "main.cf").write_text(_MAIN.format(folder=folder, name=name, relayhost=relayhost, more=more))
    (folder / "master.cf").write_text(_MASTER.format(port=port))
    command = [shutil.which("postfix", path="/usr/sbin:/sbin") or "postfix", "-c", str(folder)]
    started = subprocess.run([*command, "start"], capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    try:
        until(lambda: _listens(port), f"{name} listens")
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run([*command, "stop"], capture_output=True, check=True)
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
