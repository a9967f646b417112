"""Labelled mail to learn from: a corpus, traffic traces, composed samples."""

from __future__ import annotations

import json
import lzma
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha1
from pathlib import Path

import msgspec

from outbound_guard.content import samples

COPIES = 12
"""Messages kept of one campaign of a trace."""
COPIES_TEMPLATE = 60
"""Messages kept of one kind of template mail of a trace, over all accounts."""
COMPOSED = 40
"""Messages composed of each text in samples.txt."""


class TrainError(Exception):
    """There is nothing to learn from; the text says what is missing or broken, and where."""


class Raw(msgspec.Struct):
    """One training message before its features are read."""

    source: str
    group: str
    """What must not be split between fitting and calibration: a source, or one hand's template.

    Empty for texts of the corpus in other clothes: they are learned from at the end only, else a source
    that is left out would be seen after all.
    """
    spam: bool
    content: bytes


def octets(raw: str) -> bytes:
    """A message of the corpus (octets as characters 0 to 255) with CRLF line ends."""
    try:
        data = raw.encode("latin-1")
    except UnicodeEncodeError:
        data = raw.encode("utf-8", "surrogateescape")
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def in_half(cluster: str) -> bool:
    """True if a cluster is in the half of a corpus that traces made with `--part trace` do not use."""
    return sha1(cluster.encode("utf-8", "surrogatepass")).digest()[0] < 128  # noqa: S324 - not for security, it is the trace generator's rule.


def read_corpus(folder: Path, split: str, without: Sequence[str] = (), half: bool = False) -> Iterator[Raw]:
    """The messages of `split` in `folder/*.jsonl.xz`; files whose name holds a word of `without` are left out.

    A line is an object with `raw` (octets as characters 0 to 255), `label` (ham, or anything else for spam) and, if
    need be, `split` (without it the message is in every split) and `cluster` (texts that are nearly the same).
    Raises TrainError for a file that is not so.
    """
    for path in sorted(folder.glob("*.jsonl.xz")):
        if any(word in path.name for word in without):
            continue
        source, number = path.name.partition(".")[0], 0
        try:
            with lzma.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    number += 1
                    record = json.loads(line)
                    raw: str = record["raw"]
                    if record.get("split", split) != split or (half and not in_half(record.get("cluster", raw))):
                        continue
                    yield Raw(source, source, record["label"] != "ham", octets(raw))
        except (lzma.LZMAError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise TrainError(f"{path}: line {number or 1} is no message with its label: {_said(error)}") from error


def _said(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def read_trace(folder: Path, seed: int) -> Iterator[Raw]:
    """A sample of a traffic trace: few copies of a campaign, few of a template, one of a text that is in the corpus.

    Raises OSError, or TrainError for a folder that holds no trace with its labels.
    """
    try:
        yield from _read_trace(folder, seed)
    except (zlib.error, ValueError, LookupError, TypeError) as error:
        raise TrainError(f"{folder}: no trace with its labels: {_said(error)}") from error


def _read_trace(folder: Path, seed: int) -> Iterator[Raw]:
    labels = [json.loads(line) for line in (folder / "labels.jsonl").read_text("utf-8").splitlines()]
    places = [json.loads(line)["message"] for line in (folder / "trace.jsonl").read_text("utf-8").splitlines()]
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)  # noqa: S311 - a sample, not a secret.
    taken: Counter[tuple[str, str]] = Counter()
    with (folder / "messages.zbin").open("rb") as archive:
        for number in order:
            label = labels[number]
            text = label["content"]
            single = re.search(r"(?:^|:)[0-9a-f]{16}$", text) is not None
            # The same template in many accounts is one kind; a campaign is known by its full name.
            kind = text if single or label["label"] == "spam" else re.sub(r":a\d+", "", text)
            taken[label["label"], kind] += 1
            most = 1 if single else COPIES if label["label"] == "spam" else COPIES_TEMPLATE
            if taken[label["label"], kind] > most:
                continue
            _, offset, length = places[number].rsplit(":", 2)
            archive.seek(int(offset))
            group = "" if single or label["label"] == "spam" else f"trace:{kind}"
            yield Raw("trace", group, label["label"] == "spam", zlib.decompress(archive.read(int(length))))


def read_samples(seed: int, copies: int = COMPOSED) -> Iterator[Raw]:
    """Composed messages of every text in samples.txt."""
    for number, template in enumerate(samples.templates()):
        for copy in range(copies):
            generator = random.Random(f"{seed}/{number}/{copy}")  # noqa: S311 - texts, not secrets.
            content = samples.compose(template, generator)
            yield Raw("samples", f"samples:{template.kind}", template.label == "spam", content)
