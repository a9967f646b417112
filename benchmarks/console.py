"""The console with a month of a large installation: makes the data, asks every page, decides about 10,000 messages.

    python -m benchmarks.console make --directory DIR [--spooled N]     the data, in some minutes
    python -m benchmarks.console ask --directory DIR                    p50 and worst of every kind of page, in ms
    python -m benchmarks.console decide --directory DIR --number 10000  how long one decision takes; uses the mail up

`ask` and `decide` start the product on DIR. What the ledger holds and the spool does not have is then noted as missing,
so all held mail needs its file: `make --spooled 100000`.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import console_data
from outbound_guard.console.pages import NAVIGATION
from tests.product import Hops, Product, until
from tests.webconsole import Visit, add_user, signed_in

FURTHER = (
    "/held?sort=-score",
    "/held?sort=account",
    "/held?state=held&sort=-score",
    "/held?words=last+chance",
    "/held?words=last+chance&sort=-score",
    "/held?words=nothing-has-this",
    "/held?signal=novelty",
    "/held?account=customer-0007.example",
    "/held?number=1500",
    "/held?show=campaigns",
    "/held?show=accounts",
    "/held?show=senders",
    "/held?show=campaigns&words=last+chance",
    "/held?state=closed&show=accounts",
    "/held/decide?do=release&all=yes&account=customer-0007.example",
    "/held/decide?do=delete&all=yes&state=held",
    "/messages?account=customer-0007.example",
    "/accounts/one?account=customer-0007.example",
)
"""Besides what the links lead to: the searches that cost most."""
_ID = re.compile(r"[0-9a-z]{16}|[0-9]+|[0-9]{4}-[0-9]+")
_LINK = re.compile(r'href="(/[^"#]*)"')
_NO_PAGE = re.compile(r"\.(?:json|csv|eml|zip)\b|/raw|/frame|/export|/original|/static/")
_MOST = 120


def main() -> int:
    """Do what the command line asks for; results on standard output, progress on standard error."""
    options = _arguments()
    return int(options.run(options))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    acts = parser.add_subparsers(required=True)
    make = acts.add_parser("make", help="make a data directory")
    make.add_argument("--decisions", type=int, default=2_000_000)
    make.add_argument("--held", type=int, default=100_000)
    make.add_argument("--spooled", type=int, default=0, help="so many held messages get a file in the spool")
    make.set_defaults(run=_make)
    ask = acts.add_parser("ask", help="ask every kind of page")
    ask.add_argument("--times", type=int, default=7, help="how often each page is asked")
    ask.set_defaults(run=_ask)
    decide = acts.add_parser("decide", help="decide about many messages")
    decide.add_argument("--number", type=int, default=10_000)
    decide.add_argument("--act", choices=("release", "delete"), default="delete")
    decide.set_defaults(run=_decide)
    for command in (make, ask, decide):
        command.add_argument("--directory", type=Path, required=True)
    return parser.parse_args()


def _make(options: argparse.Namespace) -> int:
    share = options.held / 100_000
    size = console_data.Size(
        decisions=options.decisions,
        held=options.held,
        one_account=int(20_000 * share),
        one_campaign=int(30_000 * share),
        spooled=options.spooled,
    )
    data = options.directory / "data"
    data.mkdir(mode=0o700, parents=True)
    console_data.make(data, size, time.time(), _say)
    return 0


def _ask(options: argparse.Namespace) -> int:
    with _console(options.directory) as ann:
        found: dict[str, list[float]] = {}
        for path in _pages(ann):
            found[path] = []
            for _ in range(options.times):
                begun = time.perf_counter()
                answer = ann.http.get(path)
                found[path].append((time.perf_counter() - begun) * 1000)
                if answer.status_code != 200:
                    _say(f"{path}: {answer.status_code}")
        print("| page | p50 ms | worst ms |\n|---|---:|---:|")
        for path, times in sorted(found.items(), key=lambda pair: -max(pair[1])):
            print(f"| `{path}` | {statistics.median(times):.0f} | {max(times):.0f} |")
    return 0


def _decide(options: argparse.Namespace) -> int:
    with _console(options.directory) as ann:
        order = {"act": options.act, "ids": _ids(ann, options.number), "delay": 0, "reason": "measured"}
        begun = time.monotonic()
        placed = ann.api("POST", "/bulk", json=order).json()
        answered = time.monotonic()
        slowest = 0.0
        while True:
            asked = time.monotonic()
            told = ann.api("GET", f"/bulk/{placed['id']}").json()
            slowest = max(slowest, time.monotonic() - asked)
            if told["state"] == "done":
                break
            time.sleep(0.1)
        took = time.monotonic() - begun
        print(
            f"{options.act} of {placed['number']} messages: answered after {answered - begun:.2f} s, done after "
            f"{took:.1f} s ({placed['number'] / took:.0f} a second): {told['counts']}; the slowest answer meanwhile: "
            f"{slowest * 1000:.0f} ms"
        )
    return 0


@contextmanager
def _console(directory: Path) -> Iterator[Visit]:
    """The product on the data, and an administrator at its console."""
    with Hops() as hops:
        product = Product.made(directory, smarthosts=[hops.start().address])
        with product:
            if "measurer" not in product.guard("user", "list"):
                add_user(product, "measurer", "admin")
            with signed_in(product, "measurer", add=False) as ann:
                until(lambda: ann.api("GET", "/held").status_code == 200, "the ledger is ready", 120.0)
                yield ann


def _pages(ann: Visit) -> list[str]:
    """Each kind of page once, as links lead to it, and the searches that cost most."""
    waiting, kinds, found = [to for to, *_ in NAVIGATION], set[str](), []
    while waiting and len(found) < _MOST:
        path = waiting.pop(0)
        answer = ann.http.get(path)
        if answer.status_code != 200 or "text/html" not in answer.headers["content-type"]:
            continue
        found.append(path)
        for to in _LINK.findall(answer.text):
            link = to.replace("&amp;", "&")
            if not _NO_PAGE.search(link) and (kind := _kind(link)) not in kinds:
                kinds.add(kind)
                waiting.append(link)
    return list(dict.fromkeys([*found, *FURTHER]))


def _kind(path: str) -> str:
    """Which page it is: without ids and what it is about."""
    parts = urlsplit(path)
    names = sorted(one.partition("=")[0] for one in parts.query.split("&") if one)
    return "/".join("*" if _ID.fullmatch(part) else part for part in parts.path.split("/")) + f"?{'&'.join(names)}"


def _ids(ann: Visit, number: int) -> list[str]:
    found: list[str] = []
    while len(found) < number:
        page = ann.api("GET", "/held", offset=len(found), limit=min(500, number - len(found))).json()
        found += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
