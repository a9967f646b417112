"""`scripts/fuzz`: tries inputs on the targets until their time is over; led by coverage where atheris is installed.

Each target has its corpus under build/fuzz/TARGET/corpus: what reached new code stays there for the next time. An input
that shows a mistake is made smaller and lies in build/fuzz/TARGET; once the mistake is mended it moves to
tests/fuzz/found/TARGET, where the tests try it for ever.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.util
import os
import random
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.target import TESTS, Target

FOLDER = TESTS.parent / "build" / "fuzz"
MODULES = TESTS / "fuzz"
_TIMEOUT = 20
"""Seconds that one input may take; a thousand times what most need, since the machine may be busy."""
_DONE = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+)(?: corp: (\d+))?", re.M)
_TRIES = 3000


def names() -> list[str]:
    """All targets."""
    return sorted(path.stem.removeprefix("fuzz_") for path in MODULES.glob("fuzz_*.py"))


def target(name: str) -> Target:
    """The target of that name."""
    found: Target = importlib.import_module(f"tests.fuzz.fuzz_{name}").TARGET
    return found


def corpus(name: str) -> Path:
    """The folder with inputs of a target, its seeds written there."""
    folder = FOLDER / name / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    found = MODULES / "found" / name
    for octets in (*target(name).seeds(), *(path.read_bytes() for path in sorted(found.glob("*")))):
        path = folder / hashlib.sha256(octets).hexdigest()[:20]
        if not path.exists():
            path.write_bytes(octets)
    return folder


def fault(attempt: object, octets: bytes) -> str | None:
    """What an input shows, by the end of its traceback; None if all is well."""
    try:
        attempt(octets)  # type: ignore[operator]
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        return f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno} {frames[-2].lineno}"
    return None


def smaller(attempt: object, octets: bytes) -> bytes:
    """An input that shows the same, with as little in it as a bounded number of tries can find."""
    wanted, tries, size = fault(attempt, octets), 0, max(1, len(octets) // 2)
    while size and tries < _TRIES and wanted:
        place, shrunk = 0, False
        while place < len(octets) and tries < _TRIES:
            tries += 1
            shorter = octets[:place] + octets[place + size :]
            if fault(attempt, shorter) == wanted:
                octets, shrunk = shorter, True
            else:
                place += size
        if not shrunk or size > len(octets):
            size //= 2
    return octets


def mutated(dice: random.Random, known: Sequence[bytes], words: Sequence[bytes], longest: int) -> bytes:
    """One of the known inputs, changed in a few places."""
    octets = bytearray(dice.choice(known))
    for _ in range(dice.randint(1, 6)):
        place = dice.randrange(len(octets) + 1)
        match dice.randrange(5):
            case 0:
                octets[place:place] = dice.choice(words or (b"\0",))
            case 1:
                del octets[place : place + dice.randint(1, 20)]
            case 2:
                octets[place : place + 1] = bytes([dice.randrange(256)])
            case 3:
                other = dice.choice(known)
                start = dice.randrange(len(other) + 1)
                octets[place:place] = other[start : start + dice.randint(1, 80)]
            case 4:
                octets[place:place] = octets[place : place + dice.randint(1, 40)] * dice.randint(1, 4)
    return bytes(octets[:longest])


def blindly(name: str, seconds: float, seed: int) -> int:
    """Without atheris: mutate what is known. The number of mistakes found, 0 or 1."""
    one, dice = target(name), random.Random(seed)
    known = [path.read_bytes() for path in sorted(corpus(name).iterdir())]
    tried, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        octets = known[tried] if tried < len(known) else mutated(dice, known, one.words, one.longest)
        if fault(one.attempt, octets):
            return shown(name, octets)
        tried += 1
    print(f"{name}: {tried} inputs, seed {seed}: no mistake", flush=True)
    return 0


def guided(name: str, seconds: float, seed: int) -> int:
    """With atheris, in a process of its own. The number of mistakes found, 0 or 1."""
    folder, dictionary = corpus(name), FOLDER / name / "words"
    spelled = ("".join(f"\\x{octet:02x}" for octet in word) for word in target(name).words if word)
    dictionary.write_text("".join(f'"{word}"\n' for word in spelled), encoding="ascii")
    for old in FOLDER.glob(f"{name}/*-*"):
        old.unlink()
    options = (
        *(f"-max_total_time={max(1, round(seconds))}", f"-timeout={_TIMEOUT}", "-rss_limit_mb=4096", f"-seed={seed}"),
        *(f"-dict={dictionary}", f"-artifact_prefix={FOLDER / name}/", "-print_final_stats=0"),
        *(f"-max_len={target(name).longest}", "-reload=0", "-len_control=20", "-detect_leaks=0"),
    )
    command = [sys.executable, "-m", "tests.fuzz.guided", name, *options, str(folder)]
    log = FOLDER / name / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            process.wait(seconds + 600)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            process.send_signal(signal.SIGINT)
            process.wait(30)
    said = log.read_text(errors="replace")
    steps = _DONE.findall(said)
    if steps:
        first = next((step for step in steps if step[1] == "INITED"), steps[0])
        last = steps[-1]
        print(
            f"{name}: {last[0]} inputs, seed {seed}, coverage {first[2]} to {last[2]} edges, "
            f"{first[3]} to {last[3]} features, corpus {last[4] or '?'}",
            flush=True,
        )
    found = sorted(FOLDER.glob(f"{name}/crash-*"))
    if found:
        return shown(name, found[0].read_bytes())
    if process.returncode:
        print(f"{name}: ended with {process.returncode}:\n{said[-3000:]}", file=sys.stderr, flush=True)
        return 1
    return 0


def shown(name: str, octets: bytes) -> int:
    """Say what an input shows, and keep it."""
    attempt = target(name).attempt
    small = smaller(attempt, octets)
    path = FOLDER / name / f"found-{hashlib.sha256(small).hexdigest()[:12]}"
    path.write_bytes(small)
    print(f"{name}: a mistake, shown by {path}:\n{small!r}", file=sys.stderr)
    try:
        attempt(small)
    except Exception:
        traceback.print_exc()
    else:
        print("(alone it does not show: what came before has a part in it)", file=sys.stderr)
    print(f"When it is mended, keep it: cp {path} tests/fuzz/found/{name}/WHAT_IT_IS", file=sys.stderr, flush=True)
    return 1


def main(arguments: Sequence[str]) -> int:
    """0: no mistake found; 1: found; 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Tries inputs on what reads octets of strangers.")
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(names())}; none: all, in turn")
    parser.add_argument("--minutes", type=float, default=1.0, help="in all, shared by the targets (1)")
    parser.add_argument("--seed", type=int, help="to do the same again")
    parser.add_argument("--blind", action="store_true", help="without atheris, also where it is installed")
    given = parser.parse_args(arguments)
    wrong = [name for name in given.targets if name not in names()]
    if wrong or not 0 < given.minutes < 100_000:
        parser.error(f"no target {wrong[0]}; there are {', '.join(names())}" if wrong else "--minutes must be above 0")
    chosen = given.targets or names()
    leading = importlib.util.find_spec("atheris") is not None and not given.blind
    if not leading and not given.blind:
        print(
            "atheris is not installed, so inputs are mutated blindly. To be led by coverage:\n"
            "    .venv/bin/python -m pip install --require-hashes -r requirements/fuzz.lock",
            flush=True,
        )
    seed = given.seed if given.seed is not None else random.SystemRandom().getrandbits(31)
    attempt = guided if leading else blindly
    failed = [name for name in chosen if attempt(name, given.minutes * 60 / len(chosen), seed)]
    if failed:
        print(f"scripts/fuzz: mistakes in {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    os.chdir(TESTS.parent)
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
    sys.exit(130)
