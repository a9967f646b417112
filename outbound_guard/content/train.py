"""Makes the content model: reads training mail, fits a linear model, calibrates it on sources left out.

Needs nothing but Python; the same input and seed give the same file. Steps:

1. Examples: a corpus (JSON lines with label, split and cluster), traffic traces with labels, composed samples.
   Copies of one text (campaign, template) are thinned out, and every source weighs as the root of its size.
2. Fit: a linear support vector machine, by coordinate descent in the dual.
3. Calibrate: each example is scored by a model that has not seen its source (for texts of one hand: its template), and
   the weight of evidence is read off those scores by isotonic regression. So it says what the model is worth on mail of
   a kind that it does not know, which is less than what it is worth on its own kind.
"""

from __future__ import annotations

import json
import lzma
import math
import random
import re
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha1
from pathlib import Path

import msgspec

from outbound_guard.content import features, parse, samples
from outbound_guard.content.features import Feature
from outbound_guard.content.model import About, Model, monotone, pack

COPIES = 12
"""Messages kept of one campaign of a trace."""
COPIES_TEMPLATE = 60
"""Messages kept of one kind of template mail of a trace, over all accounts."""
COMPOSED = 40
"""Messages composed of each text in samples.txt."""
MIN_DOCUMENTS = 4
"""Messages that must hold a feature for it to be learned."""
CANDIDATES = 640_000
"""Features that are fitted, the most frequent ones."""
MAX_FEATURES = 160_000
"""Features that are kept in the file."""
EPOCHS = 16
COST = 0.7
"""What an error costs in the fit, against the size of the weights."""
KNOTS = 24
FOLDS = 4
PRIOR = 3.0
"""Messages of each label that every stretch of the calibration is taken to have seen beforehand; keeps it cautious."""


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


class Examples:
    """Features of many messages, as numbers."""

    def __init__(self) -> None:
        self.numbers: dict[Feature, int] = {}
        self.rows: list[array[int]] = []
        self.lengths: list[int] = []
        self.spam: list[bool] = []
        self.sources: list[str] = []
        self.groups: list[str] = []

    def add(self, raw: Raw) -> None:
        """Read the features of one message."""
        found = features.extract(parse(raw.content))
        numbers = self.numbers
        self.rows.append(array("i", [numbers.setdefault(name, len(numbers)) for name in found]))
        self.lengths.append(len(found))
        self.spam.append(raw.spam)
        self.sources.append(raw.source)
        self.groups.append(raw.group)


def octets(raw: str) -> bytes:
    """A message of the corpus (octets as characters 0 to 255) with CRLF line ends."""
    try:
        data = raw.encode("latin-1")
    except UnicodeEncodeError:
        data = raw.encode("utf-8", "surrogateescape")
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def in_half(cluster: str) -> bool:
    """True if a cluster is in the half of a corpus that traces made with `--part trace` do not use."""
    return sha1(cluster.encode()).digest()[0] < 128  # noqa: S324 - not for security, it is the trace generator's rule.


def read_corpus(folder: Path, split: str, without: Sequence[str] = (), half: bool = False) -> Iterator[Raw]:
    """The messages of `split` in `folder/*.jsonl.xz`; files whose name holds a word of `without` are left out."""
    for path in sorted(folder.glob("*.jsonl.xz")):
        if any(word in path.name for word in without):
            continue
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                if record["split"] != split or (half and not in_half(record["cluster"])):
                    continue
                source = path.name.partition(".")[0]
                yield Raw(source, source, record["label"] != "ham", octets(record["raw"]))


def read_trace(folder: Path, seed: int) -> Iterator[Raw]:
    """A sample of a traffic trace: few copies of a campaign, few of a template, one of a text that is in the corpus."""
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


def _balance(sources: Sequence[tuple[str, bool]]) -> list[float]:
    """Weights of examples: a source counts as the root of its size, spam and ham count alike; their mean is 1."""
    sizes = Counter(sources)
    weights = [1.0 / math.sqrt(sizes[source]) for source in sources]
    totals = {
        label: sum(w for w, (_, spam) in zip(weights, sources, strict=True) if spam is label) for label in (True, False)
    }
    half = len(sources) / 2
    return [weight * half / totals[source[1]] for weight, source in zip(weights, sources, strict=True)]


def fit(examples: Examples, chosen: Sequence[int], known: bytearray, seed: int) -> tuple[list[float], float]:
    """Weights by feature number, and the bias, from the examples `chosen`; only features marked `known` count.

    A linear support vector machine with squared hinge loss, solved in its dual one example at a time
    (Hsieh et al. 2008): it converges in few passes and has no step size to choose.
    """
    weights = [0.0] * len(examples.numbers)
    bias = 0.0
    rows = [[n for n in examples.rows[i] if known[n]] for i in chosen]
    shares = [1.0 / math.sqrt(examples.lengths[i] + 1) for i in chosen]
    signs = [1.0 if examples.spam[i] else -1.0 for i in chosen]
    # Twice the cost of an error, by example; and the length of each example, the bias counted as a feature of 1.
    softness = [0.5 / (COST * w) for w in _balance([(examples.sources[i], examples.spam[i]) for i in chosen])]
    lengths = [len(row) * share * share + 1.0 for row, share in zip(rows, shares, strict=True)]
    duals = [0.0] * len(rows)
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret.
    order = list(range(len(rows)))
    active = order
    for epoch in range(EPOCHS):
        # Every fourth pass looks at all; the others at those only that hold the boundary.
        active = order if epoch % 4 == 0 else [i for i in order if duals[i] > 0.0]
        generator.shuffle(active)
        for i in active:
            row, share, sign, dual = rows[i], shares[i], signs[i], duals[i]
            margin = sign * (sum(map(weights.__getitem__, row)) * share + bias)
            moved = dual - (margin - 1.0 + softness[i] * dual) / (lengths[i] + softness[i])
            if moved < 0.0:
                moved = 0.0
            change = (moved - dual) * sign
            if change:
                duals[i] = moved
                bias += change
                change *= share
                for n in row:
                    weights[n] += change
    return weights, bias


def score(examples: Examples, i: int, weights: Sequence[float], bias: float) -> float:
    """The raw score of one example."""
    return sum(map(weights.__getitem__, examples.rows[i])) / math.sqrt(examples.lengths[i] + 1) + bias


def common(examples: Examples, chosen: Iterable[int], most: int) -> bytearray:
    """Marks by feature number: 1 for those in at least `MIN_DOCUMENTS` messages, at most `most` of them."""
    counts: Counter[int] = Counter()
    for i in chosen:
        counts.update(examples.rows[i])
    known = bytearray(len(examples.numbers))
    for n, count in counts.most_common(most):
        if count >= MIN_DOCUMENTS:
            known[n] = 1
    return known


def _fold(group: str) -> int:
    # Sources are spread by hand so that each fold keeps much ham and much spam to learn from.
    fixed = {
        "enron-ham": 0,
        "spamassassin-spam": 0,
        "trec07p-ham": 1,
        "spamassassin-ham": 2,
        "vger-ham": 3,
        "trec07p-spam": 3,
    }
    return fixed.get(group, zlib.crc32(group.encode()) % FOLDS)


def calibrate(scored: Sequence[tuple[float, bool, float]]) -> tuple[list[float], list[float]]:
    """Knots (scores, weights of evidence) from (raw score, spam, importance); both labels count alike in sum."""
    ordered = sorted(scored)
    totals = {label: sum(weight for _, spam, weight in ordered if spam is label) for label in (True, False)}
    counts = {label: sum(1 for _, spam, _ in ordered if spam is label) for label in (True, False)}
    points = []
    size = max(1, len(ordered) // (KNOTS * 4))
    for start in range(0, len(ordered), size):
        block = ordered[start : start + size]
        rates = {}
        for label in (True, False):
            weight = sum(weight for _, spam, weight in block if spam is label)
            # In the units of one average message of that label, so that the prior means a number of messages.
            rates[label] = (weight * counts[label] / totals[label] + PRIOR * 0.1) / (counts[label] + PRIOR)
        middle = sum(raw for raw, _, _ in block) / len(block)
        points.append((middle, math.log(rates[True] / rates[False]), float(len(block))))
    smooth = monotone(points)
    step = max(1, len(smooth) // KNOTS)
    kept = smooth[::step] + ([smooth[-1]] if (len(smooth) - 1) % step else [])
    return [raw for raw, _ in kept], [weight for _, weight in kept]


def train(examples: Examples, seed: int, say: Callable[[str], None] = print) -> Model:
    """Fit and calibrate a model on `examples`."""
    everything = range(len(examples.rows))
    folds: dict[int, list[int]] = defaultdict(list)
    apart = [i for i in everything if examples.groups[i]]
    for i in apart:
        folds[_fold(examples.groups[i])].append(i)
    importance = _balance([(examples.sources[i], examples.spam[i]) for i in everything])
    scored = []
    for number, left_out in sorted(folds.items()):
        outside = set(left_out)
        chosen = [i for i in apart if i not in outside]
        weights, bias = fit(examples, chosen, common(examples, chosen, CANDIDATES), seed + number)
        scored += [(score(examples, i, weights, bias), examples.spam[i], importance[i]) for i in left_out]
        say(f"fold {number}: learned from {len(chosen)}, scored {len(left_out)}")
    knots, evidence = calibrate(scored)
    weights, bias = fit(examples, everything, common(examples, everything, CANDIDATES), seed)
    counts: Counter[int] = Counter()
    for row in examples.rows:
        counts.update(row)
    # What a feature can change over all messages decides whether it is worth its place in the file.
    worth = sorted(
        (n for n in range(len(weights)) if weights[n]),
        key=lambda n: abs(weights[n]) * math.sqrt(counts[n]),
        reverse=True,
    )[:MAX_FEATURES]
    names = list(examples.numbers)
    largest = max(abs(weights[n]) for n in worth)
    about = About(bias, largest / 32767, knots, evidence, f"{len(examples.rows)} messages, seed {seed}")
    say(f"{len(examples.rows)} messages, {len(worth)} features kept of {len(names)}")
    return Model({names[n]: weights[n] for n in worth}, about)


def gather(
    corpus: Path, traces: Sequence[Path], seed: int, without: Sequence[str] = ("phishing_pot",), half: bool = False
) -> Examples:
    """All examples: the `train` split of the corpus, samples of the traces, composed messages.

    `half` leaves out the texts that traces made with `--part trace` use: for a model that is to be measured on those.
    """
    examples = Examples()
    for raw in read_corpus(corpus, "train", without, half):
        examples.add(raw)
    for number, trace in enumerate(traces, 1):
        for raw in read_trace(trace, number):
            examples.add(raw)
    for raw in read_samples(seed):
        examples.add(raw)
    return examples


def write(model: Model, path: Path) -> int:
    """Write a model file; returns its size in octets."""
    data = pack(model.by_name, model.about)
    path.write_bytes(data)
    return len(data)
