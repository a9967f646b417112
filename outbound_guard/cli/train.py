"""`train`: makes the content model."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    train = commands.add_parser("train", parents=[common], help="make the content model from labelled mail")
    train.add_argument("--corpus", metavar="DIR", required=True, help="labelled mail: *.jsonl.xz, here or in DIR/mail")
    train.add_argument("--trace", metavar="DIR", action="append", default=[], help="a labelled trace; may be repeated")
    train.add_argument(
        "--half", action="store_true", help="leave out the half of the corpus that measured traces take texts from"
    )
    train.add_argument("--seed", type=int, default=1, metavar="N", help="same input and seed, same file (default: 1)")
    train.add_argument(
        "--copies", type=int, default=40, metavar="N", help="messages composed of each packaged text (default: 40)"
    )
    train.add_argument("--out", metavar="FILE", required=True, help="where the model goes")
    train.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> int:
    from outbound_guard.cli.terminal import print_json
    from outbound_guard.content import train

    out = Path(arguments.out)
    traces = [Path(trace) for trace in arguments.trace]
    # What takes minutes must not fail at its end for something that can be seen at once.
    _writable(out)
    for trace in traces:
        (trace / "labels.jsonl").open("rb").close()
    examples = train.gather(
        _corpus(Path(arguments.corpus)), traces, arguments.seed, half=arguments.half, copies=arguments.copies
    )
    model = train.train(examples, arguments.seed, lambda text: print(text, file=sys.stderr, flush=True))
    size = train.write(model, out)
    if arguments.json:
        print_json({"file": str(out), "octets": size, "messages": len(examples.rows), "features": len(model.by_name)})
    else:
        print(f"{out} written: {len(model.by_name)} features of {len(examples.rows)} messages, {size} octets")
    return 0


def _corpus(folder: Path) -> Path:
    """The folder with the files: this one, or the one called mail in it. Raises TrainError if there are none."""
    from outbound_guard.content.labelled import TrainError

    for place in (folder, folder / "mail"):
        if any(place.glob("*.jsonl.xz")):
            return place
    raise TrainError(f"{folder}: no labelled mail here; expected files named *.jsonl.xz, in it or in its folder mail")


def _writable(out: Path) -> None:
    """Raises OSError if the file could not be written."""
    existed = out.exists()
    os.close(os.open(out, os.O_WRONLY | os.O_CREAT, 0o644))
    if not existed:
        out.unlink()
