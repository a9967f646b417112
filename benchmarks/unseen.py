"""Attacks and honest kinds of mail that the traffic laboratory does not have, through `replay`: what becomes of each.

    .venv/bin/python -m benchmarks.unseen [SEED] [--why]

Nothing was tuned to them. Each kind gets an account of its own with three weeks of ordinary mail behind it, where its
story does not say otherwise. Texts come from the `dev` split of the corpus, which the content model has not learned
from. One account a kind is a sample of one: several seeds say more than one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import unseen_kinds
from benchmarks.replay import CORPUS
from benchmarks.unseen_world import PAST, Mailbox, World
from outbound_guard.config import Policy
from outbound_guard.replay import run


def measure(seed: int, folder: Path) -> dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Each kind -> its events and what became of them."""
    world = World(seed)
    for _ in range(8):
        Mailbox(world)
    for happen in unseen_kinds.KINDS:
        happen(world)
    world.events.sort(key=lambda event: event["t"])
    (folder / "messages.zbin").write_bytes(world.archive)
    (folder / "trace.jsonl").write_text("".join(json.dumps(event) + "\n" for event in world.events))
    records = run(folder, Policy()).driver.records
    found: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for event in world.events:
        found.setdefault(event["id"].partition("|")[0], []).append((event, records[event["id"]]))
    found.pop(PAST)
    return found


def _row(kind: str, mail: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    late = [record["t_final"] - event["t"] for event, record in mail if record["final"] == "relay"]
    waited = [seconds for seconds in late if seconds > 1]
    minutes = f"{statistics.median(waited) / 60:.0f}" if waited else ""
    suspended = "yes" if any(record.get("suspended") for _, record in mail) else ""
    cells = (kind, len(mail), len(late) - len(waited), len(waited), minutes, len(mail) - len(late), suspended)
    return f"| {' | '.join(map(str, cells))} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", nargs="?", type=int, default=1)
    parser.add_argument("--why", action="store_true", help="and what spoke against the first message that was stopped")
    options = parser.parse_args()
    if not (CORPUS / "mail").is_dir():
        print(f"the corpus is not at {CORPUS}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="unseen-") as folder:
        found = measure(options.seed, Path(folder))
    print("| kind | messages | at once | later | minutes, median | stopped | suspended |\n|---|" + "---:|" * 5 + "---|")
    for kind, mail in sorted(found.items()):
        print(_row(kind, mail))
        stopped = [record for _, record in mail if record["final"] != "relay"]
        if options.why and stopped:
            print(f"  {stopped[0].get('score')}: {'; '.join(stopped[0].get('reasons', ()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
