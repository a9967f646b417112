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

import math
import random
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from outbound_guard.content import features, parse
from outbound_guard.content.features import Feature
from outbound_guard.content.labelled import COMPOSED, Raw, TrainError, read_corpus, read_samples, read_trace
from outbound_guard.content.model import About, Model, monotone, pack

EVALUATION_ONLY = ("phishing_pot",)
"""Words in the names of corpus files whose terms do not allow to learn from them."""
FEWEST = 20
"""Messages of each label without which nothing is learned."""
MIN_DOCUMENTS = 4
"""Messages that must hold a feature for it to be learned."""
CANDIDATES = 640_000
"""Features that are fitted, the most frequent ones."""
MAX_FEATURES = 60_000
"""Features that are kept in the file."""
EPOCHS = 16
COST = 0.7
"""What an error costs in the fit, against the size of the weights."""
KNOTS = 24
FOLDS = 4
PRIOR = 3.0
"""Messages of each label that every stretch of the calibration is taken to have seen beforehand; keeps it cautious."""


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
    """Fit and calibrate a model on `examples`. Raises TrainError if there are too few of spam or ham."""
    everything = range(len(examples.rows))
    apart = [i for i in everything if examples.groups[i]]
    spam = sum(examples.spam[i] for i in apart)
    if min(spam, len(apart) - spam) < FEWEST:
        raise TrainError(f"{spam} spam and {len(apart) - spam} ham to learn from; at least {FEWEST} of each are needed")
    folds: dict[int, list[int]] = defaultdict(list)
    for i in apart:
        folds[_fold(examples.groups[i])].append(i)
    if not all(_both(examples, apart, set(left_out)) for left_out in folds.values()):
        say("too few sources to leave one out: calibrated on single messages left out, which flatters the model")
        folds = {number: apart[number::FOLDS] for number in range(FOLDS)}
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
    worth.sort(key=lambda n: (-counts[n], n))
    names = list(examples.numbers)
    largest = max((abs(weights[n]) for n in worth), default=1.0)
    scale = 2.0 ** math.ceil(math.log2(largest / 32767))
    about = About(bias, scale, knots, evidence, f"{len(examples.rows)} messages, seed {seed}")
    say(f"{len(examples.rows)} messages, {len(worth)} features kept of {len(names)}")
    return Model({names[n]: weights[n] for n in worth}, about)


def _both(examples: Examples, apart: Sequence[int], left_out: set[int]) -> bool:
    """True if there is spam and ham besides what is left out."""
    return len({examples.spam[i] for i in apart if i not in left_out}) == 2


def gather(
    corpus: Path,
    traces: Sequence[Path],
    seed: int,
    without: Sequence[str] = EVALUATION_ONLY,
    half: bool = False,
    copies: int = COMPOSED,
) -> Examples:
    """All examples: the `train` split of the corpus, samples of the traces, `copies` messages of each composed text.

    `half` leaves out the texts that traces made with `--part trace` use: for a model that is to be measured on those.
    Raises OSError or TrainError.
    """
    examples = Examples()
    for raw in read_corpus(corpus, "train", without, half):
        examples.add(raw)
    for number, trace in enumerate(traces, 1):
        for raw in read_trace(trace, number):
            examples.add(raw)
    for raw in read_samples(seed, copies):
        examples.add(raw)
    return examples


def write(model: Model, path: Path) -> int:
    """Write a model file; returns its size in octets."""
    data = pack(model.by_name, model.about)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    # Whole or not at all: a running product may be about to read it.
    partial.replace(path)
    return len(data)
