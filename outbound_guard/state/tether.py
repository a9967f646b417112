"""Ties the life of one process to another's: when the parent ends, however it ends, the child is told to end too.

`tie` is for our own processes. Others are started through this file as a program, which needs nothing of the package:
`python -I -S tether.py PARENT COMMAND...` becomes COMMAND on Linux; elsewhere it stays as a guard beside it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_LOOK = 0.5
"""Seconds between two looks at the parent, where the kernel does not tell."""


def tie(parent: int, linux: bool = sys.platform == "linux") -> None:
    """Have SIGTERM sent to this process when its parent (its process id) ends. Does so at once if it has ended.

    On Linux the kernel does it (prctl PR_SET_PDEATHSIG); elsewhere (`linux` false) a thread looks now and then.
    """
    if linux:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), name="tether", daemon=True).start()
    # It may have ended before the kernel was asked.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os.kill(os.getpid(), signal.SIGTERM)


def _guard(parent: int, command: list[str]) -> int:
    """Run `command` beside this process and end it when the parent ends or SIGTERM comes."""
    child = subprocess.Popen(command)  # noqa: S603 - The supervisor wrote the command.
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while child.poll() is None:
        if os.getppid() != parent:
            child.terminate()
        try:
            child.wait(_LOOK)
        except subprocess.TimeoutExpired:
            continue
    return child.returncode


def main(linux: bool = sys.platform == "linux") -> int:
    """Become, or guard, the command on the command line."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if linux:
        tie(parent)
        os.execv(command[0], command)  # noqa: S606 - No shell is wanted.
    return _guard(parent, command)


if __name__ == "__main__":
    sys.exit(main())
