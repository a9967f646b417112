"""Direct delivery beside a bare Postfix: 4 kB messages over 20 sessions, to a destination found by the DNS.

    python -m benchmarks.direct [--messages N] [--runs R]

Measured are CPU-ms a message of all processes of the one and of the other (ours: the state server too), messages
accepted a second, and messages delivered a second.

- `cut-through`: the destination's own answer is the client's; nothing is written to the disk.
- `queued`: the destination is away while mail is taken in, so every message is fsynced to the spool and taken over by
  the delivery process, which delivers all when the destination is back; delivered a second from its first delivery on.
  What is done for a message is what Postfix does for every one.
- `postfix`: a Postfix of its own with smtpd, queue and smtp, without filters, that looks the MX up itself.

The destination is Postfix's smtp-sink, the name server that of the tests. Only root can run it: Postfix is given the
name server in a mount namespace of its own, where /etc/resolv.conf names it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks import processes
from tests.dnsstub import DnsStub
from tests.product import LENIENT, Hops, Product, until

_DOMAIN = "there.test"
_NAME_SERVER = "127.0.77.53"
_SINK_ADDRESS, _SINK_PORT = "127.0.77.1", 25
_CONFIGURATION = """
[server]
hostname = "guard.test"
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.0/8"]
[delivery]
mode = "direct"
retry = [1, 5]
private_networks = ["127.0.0.0/8"]
[policy]
file = "policy.toml"
[dns]
resolvers = ["{name_server}:53"]
[console]
address = "127.0.0.1:0"
[metrics]
address = "127.0.0.1:0"
"""


def main() -> int:
    """Measure each in turn, as often as is asked for; medians on standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.direct", description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--which", default="cut-through,queued,postfix")
    options = parser.parse_args()
    for name in ("smtp-sink", "smtp-source", "postfix", "unshare"):
        if not shutil.which(name, path=f"/usr/sbin:{os.environ['PATH']}"):
            print(f"benchmarks.direct: {name} is missing (Debian packages postfix, util-linux)", file=sys.stderr)
            return 1
    os.environ["PATH"] += ":/usr/sbin"
    found: dict[str, list[tuple[float, float, float]]] = {}
    print(f"load of the machine at the start: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with Hops() as hops:
        hops.call(_names())
        for _ in range(options.runs):
            for name in options.which.split(","):
                found.setdefault(name, []).append(_measure(name, options.messages))
    print("| | CPU-ms a message | accepted a second | delivered a second |\n|---|---:|---:|---:|")
    for name, results in found.items():
        cpu, accepted, delivered = (statistics.median(column) for column in zip(*results, strict=True))
        print(f"| {name} | {cpu:.2f} | {accepted:.0f} | {delivered:.0f} |")
    return 0


def _measure(name: str, number: int) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory(prefix="direct-") as folder:
        running = _postfix if name == "postfix" else _ours
        with running(Path(folder)) as (address, root, queues):

            def waiting() -> int:
                return sum(len(files) for queue in queues for _, _, files in os.walk(queue))

            with _sink():
                _send(address, min(300, number))
                until(lambda: not waiting(), "the first are delivered", 60.0)
            with _sink() if name != "queued" else nullcontext():
                time.sleep(2)
                before = {pid: processes.cpu_ms([pid]) for pid in processes.tree(root)}
                begun = time.monotonic()
                _send(address, number)
                accepted = time.monotonic() - begun
                if name != "queued":
                    until(lambda: not waiting(), "all are delivered", 600.0)
                    delivered = time.monotonic() - begun
            if name == "queued":
                with _sink():
                    until(lambda: waiting() < number, "the first is delivered", 120.0)
                    begun = time.monotonic()
                    until(lambda: not waiting(), "all are delivered", 600.0)
                    delivered = time.monotonic() - begun
            # What is written behind (ledger, memory) belongs to it.
            time.sleep(2)
            cpu = processes.cpu_ms(processes.tree(root)) - sum(before.values())
            parts = {pid: (processes.cpu_ms([pid]) - before.get(pid, 0)) / number for pid in processes.tree(root)}
            for pid, spent in sorted(parts.items(), key=lambda part: -part[1])[:8]:
                command = " ".join(processes.command(pid))
                print(f"{name}: {spent:.2f} ms {command[:60]} … {command[-40:]}", file=sys.stderr)
            return cpu / number, number / accepted, number / delivered


@contextmanager
def _ours(folder: Path) -> Iterator[tuple[str, int, list[Path]]]:
    (folder / "policy.toml").write_text(LENIENT)
    (folder / "guard.toml").write_text(_CONFIGURATION.format(name_server=_NAME_SERVER))
    with Product(folder / "guard.toml") as product:
        spool = product.data / "spool"
        yield product.address, product.pid, [spool / "incoming", spool / "queue"]


@contextmanager
def _postfix(folder: Path) -> Iterator[tuple[str, int, list[Path]]]:
    from tests import postfix

    folder.chmod(0o755)
    (folder / "resolv.conf").write_text(f"nameserver {_NAME_SERVER}\n")
    more = "relayhost =\nsmtp_dns_support_level = enabled\nsmtp_host_lookup = dns\nmaillog_file_permissions = 0644\n"
    program = f'mount --bind "{folder}/resolv.conf" /etc/resolv.conf && exec "$0" "$@"'
    with postfix.postfix_at("postfix.test") as one:
        one.within = ["unshare", "--mount", "sh", "-c", program]
        one.start(more)
        master = int((one.folder / "spool/pid/master.pid").read_text())
        queues = [one.folder / "spool" / queue for queue in ("maildrop", "incoming", "active", "deferred")]
        yield f"127.0.0.1:{one.port}", master, queues


def _send(address: str, number: int) -> None:
    command = ["smtp-source", "-s", "20", "-m", str(number), "-l", "4000", "-d"]
    command += ["-f", "user1@customer1.example", "-t", f"someone@{_DOMAIN}", address]
    subprocess.run(command, check=True)


async def _names() -> None:
    loop = asyncio.get_running_loop()
    _, stub = await loop.create_datagram_endpoint(DnsStub, local_addr=(_NAME_SERVER, 53))
    stub.names[f"mx.{_DOMAIN}"] = [_SINK_ADDRESS]
    stub.records[_DOMAIN, "MX"] = [f"10 mx.{_DOMAIN}."]


@contextmanager
def _sink() -> Iterator[None]:
    sink = subprocess.Popen(["smtp-sink", "-u", "nobody", "-m", "1000", f"{_SINK_ADDRESS}:{_SINK_PORT}", "1000"])
    try:
        yield
    finally:
        sink.terminate()
        sink.wait()


if __name__ == "__main__":
    raise SystemExit(main())
