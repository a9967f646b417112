"""Traces, the content model to measure with, replays and scores; made with the traffic laboratory, kept as files."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from outbound_guard import content

GUARD = Path(sys.executable).with_name("outbound-guard")
SHARED = Path(__file__).resolve().parents[2] / "shared"
TRAFFIC, CORPUS = SHARED / "traffic", SHARED / "corpus"
TRAINING_SEEDS = ("model-1", "model-2", "model-3")
NOT_LEARNED = "phishing_pot"
"""Its terms allow evaluation only."""


def missing() -> str | None:
    """What keeps detection from being measured, in words; None when it can be."""
    for place in (TRAFFIC / "tracelab" / "driver.py", CORPUS / "mail"):
        if not place.exists():
            return f"{place} is absent; the folder `shared` is expected beside the repository"
    return None


def trace(results: Path, size: str, seed: str, part: str, corpus: Path = CORPUS) -> Path:
    """A generated trace. `part` is the half of the corpus that its texts are from: trace, or train."""
    folder = results / f"{part}-{size}-{seed}"
    if not (folder / "truth.json").is_file():
        _lab("generate", "--corpus", corpus, "--out", folder, "--size", size, "--seed", seed, "--part", part)
    return folder


def half_model(results: Path) -> Path:
    """A content model that has seen no text of the traces it is measured on; made anew when its making has changed."""
    sources = sorted(Path(content.__file__).parent.glob("*.*"))
    made_by = hashlib.sha256(b"".join(path.read_bytes() for path in sources if path.suffix in (".py", ".txt")))
    model = results / f"half-model-{made_by.hexdigest()[:12]}.bin"
    if not model.is_file():
        corpus = _training_corpus(results)
        traces = [trace(results, "full", seed, "train", corpus) for seed in TRAINING_SEEDS]
        print(f"scripts/detect: {model.name}, some minutes", file=sys.stderr)
        command: list[str | Path] = [GUARD, "train", "--half", "--corpus", CORPUS, "--out", model]
        for folder in traces:
            command += ["--trace", folder]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return model


def replay(trace: Path, out: Path, model: Path, policy: Path | None) -> Path:
    """Drive the product over a trace; `out` gets the run. It is shown a folder that holds the messages only."""
    archive = trace / "archive"
    archive.mkdir(exist_ok=True)
    if not (archive / "messages.zbin").exists():
        os.link(trace / "messages.zbin", archive / "messages.zbin")
    guard: list[str | Path] = [GUARD, "replay", "--stdio", "--model", model]
    if policy:
        guard += ["--policy", policy]
    _lab("driver", "--trace", trace, "--archive", archive, "--out", out, "--", *guard)
    return out


def score(trace: Path, run: Path, out: Path) -> dict[str, Any]:
    """What the laboratory says of a run; `out` gets it too."""
    _lab("score", "--trace", trace, "--run", run, "--json", out)
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def _training_corpus(results: Path) -> Path:
    """The corpus with nothing in it that must not be learned from, so that training traces cannot hold it either."""
    folder = results / "training-corpus"
    if not folder.is_dir():
        partial = results / "training-corpus.partial"
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "mail").mkdir(parents=True)
        for path in sorted((CORPUS / "mail").glob("*.jsonl.xz")):
            if NOT_LEARNED in path.name:
                continue
            with lzma.open(path, "rt") as lines, lzma.open(partial / "mail" / path.name, "wt", preset=0) as kept:
                kept.writelines(line for line in lines if json.loads(line)["split"] == "train")
        partial.rename(folder)
    return folder


def _lab(module: str, *words: str | Path) -> None:
    """Run one program of the laboratory; its results are files."""
    command = [sys.executable, "-B", "-m", f"tracelab.{module}", *words]
    subprocess.run(command, cwd=TRAFFIC, check=True, stdout=subprocess.DEVNULL)
