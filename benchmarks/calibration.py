"""scripts/calibration: whether a nat is a nat. What the score said of labelled traffic, against what was true.

A score is a sum of log-likelihood ratios, so score plus prior log-odds are the log-odds of abuse, if the weights are
right. Messages are put into bins by that, and each bin's mean prediction is laid beside its share of abuse.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import calibration_plot as plot
from benchmarks import detection_lab as lab
from benchmarks.detection import RESULTS

LEAST = 40
"""Messages a bin has at least; neighbouring steps of one nat are put together until it has."""
_CONTENT = re.compile(r"content ([+-]\d+\.\d+): ")


class Point(NamedTuple):
    """One message."""

    score: float
    content: float
    """What the content signal contributes to the score (nats); 0 if next to nothing."""
    abuse: bool
    account: str


class Bin(NamedTuple):
    """Messages of about the same score."""

    low: float
    high: float
    """Nats."""
    count: int
    abuse: int
    accounts: int
    predicted: float
    """Mean probability of abuse by the scores."""
    least: float
    most: float
    """Of the true share of abuse, with 95 % confidence."""

    @property
    def observed(self) -> float:
        """The share of abuse."""
        return self.abuse / self.count


class Reliability(NamedTuple):
    """How far something that was said in nats can be believed."""

    name: str
    count: int
    abuse: int
    prior: float
    """Log-odds of abuse before anything is known of a message."""
    bins: list[Bin]
    slope: float
    """What a nat was worth: nats of the best fitting logistic curve for one that was said."""
    offset: float
    """Nats that curve adds to the prior at 0."""
    error: float
    """Mean distance of prediction and share over all messages (expected calibration error)."""
    log_loss: float
    """Nats a message, beside those of knowing nothing but the share of abuse."""
    log_loss_of_nothing: float


def main(argv: list[str] | None = None) -> int:
    """Draw what the command line asks for: markdown on standard output, the picture into a file."""
    options = _arguments(argv)
    pairs = [(Path(run), Path(trace)) for run, trace in options.run or ()]
    if not pairs:
        if cause := lab.missing():
            print(f"scripts/calibration: {cause}", file=sys.stderr)
            return 1
        pairs = list(_replayed(options))
    points: list[Point] = []
    try:
        for number, (run, trace) in enumerate(pairs):
            points += (p._replace(account=f"{number} {p.account}") for p in read(run, trace))
        found = [
            reliability("the score", [(p.score, p.abuse, p.account) for p in points], options.prior),
            reliability("the content signal alone", [(p.content, p.abuse, p.account) for p in points], options.prior),
        ]
    except (OSError, ValueError) as error:
        print(f"scripts/calibration: {error}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(plot.svg(found), encoding="utf-8")
    print(plot.table(found))
    print(f"scripts/calibration: {options.out}", file=sys.stderr)
    return 0


def read(run: Path, trace: Path) -> Iterable[Point]:
    """The messages of a run (as `replay` writes it) that say something about the score.

    Left out: mail of owners while their account is abused, of which nobody can say whether stopping it is right; and
    what came after a suspension, which is not judged by its score. Raises OSError, ValueError.
    """
    labels = {label["id"]: label for label in _objects(trace / "labels.jsonl")}
    suspended: set[str] = set()
    for record in _objects(run):
        label, sender = labels.get(record["id"]), record.get("account", "")
        if label is None:
            raise ValueError(f"{run}: {record['id']} has no label in {trace}")
        gone = sender in suspended
        if record.get("suspended"):
            # The message that brought it about was still judged by its score.
            suspended.add(sender)
        if "score" not in record or gone or (label["label"] == "ham" and label["under_attack"]):
            continue
        said = [_CONTENT.match(reason) for reason in record["reasons"]]
        content = next((float(match[1]) for match in said if match), 0.0)
        yield Point(record["score"], content, label["label"] == "spam", label["account"])


def _objects(path: Path) -> Iterable[dict[str, Any]]:
    """One JSON object a line. Raises OSError, ValueError."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: {error}") from error


def reliability(name: str, said: Sequence[tuple[float, bool, str]], prior: float | None = None) -> Reliability:
    """Lay nats beside the truth: for each message the nats, whether it was abuse, and the account behind it.

    `prior`: the probability of abuse to begin with; None: its share. Raises ValueError if there is only one kind.
    """
    count, abuse = len(said), sum(1 for _, bad, _ in said if bad)
    if not 0 < abuse < count:
        raise ValueError(f"{abuse} of {count} messages are abuse: both kinds are needed")
    share = abuse / count
    before = log_odds(prior or share)
    groups = _grouped(said)
    # A bin of one kind alone has no spread of its own: none is taken for less alike within accounts than all are.
    alike = sum(_alike(group) * len(group) for group in groups) / count
    bins = [_bin(group, before, max(alike, _alike(group))) for group in groups]
    offset, slope = fit([(nats, bad) for nats, bad, _ in said])
    loss = -sum(_log_probability(nats + before, bad) for nats, bad, _ in said) / count
    nothing = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    error = sum(one.count * abs(one.predicted - one.observed) for one in bins) / count
    return Reliability(name, count, abuse, before, bins, slope, offset - before, error, loss, nothing)


def wilson(found: int, count: int, effect: float = 1.0) -> tuple[float, float]:
    """Bounds of a share with 95 % confidence (Wilson 1927), for `found` of `count`.

    `effect`: how many messages say as much as one would if each were independent (Kish's design effect).
    """
    z2, n = 1.96**2, count / max(effect, 1.0)
    share = found / count
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def fit(said: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Offset and slope of the logistic curve that fits best (Cox 1958): Newton's method, a hair of ridge."""
    offset, slope = 0.0, 1.0
    for _ in range(50):
        g0 = g1 = h00 = h01 = h11 = 0.0
        for nats, bad in said:
            p = probability(offset + slope * nats)
            w = p * (1 - p)
            g0 += bad - p
            g1 += (bad - p) * nats
            h00 += w
            h01 += w * nats
            h11 += w * nats * nats
        h00, h11 = h00 + 1e-6, h11 + 1e-6
        scale = 1 / (h00 * h11 - h01 * h01)
        d0, d1 = (h11 * g0 - h01 * g1) * scale, (h00 * g1 - h01 * g0) * scale
        # A step is bounded, since far from the optimum the curve's own bend misleads.
        shorter = min(1.0, 2.0 / max(abs(d0), abs(d1), 1e-12))
        offset, slope = offset + shorter * d0, slope + shorter * d1
        if max(abs(d0), abs(d1)) < 1e-9:
            break
    return offset, slope


def probability(odds: float) -> float:
    """The logistic function."""
    return 0.5 * (1.0 + math.tanh(odds / 2))


def log_odds(share: float) -> float:
    """Its inverse."""
    return math.log(share / (1 - share))


def _log_probability(odds: float, bad: bool) -> float:
    odds = odds if bad else -odds
    return -(math.log1p(math.exp(-odds)) if odds > -30 else -odds)


def _grouped(said: Sequence[tuple[float, bool, str]]) -> list[list[tuple[float, bool, str]]]:
    """In steps of whole nats, put together until each group is large enough."""
    steps: dict[int, list[tuple[float, bool, str]]] = {}
    for one in said:
        steps.setdefault(math.floor(one[0]), []).append(one)
    groups: list[list[tuple[float, bool, str]]] = []
    for step in sorted(steps):
        if groups and len(groups[-1]) < LEAST:
            groups[-1] += steps[step]
        else:
            groups.append(list(steps[step]))
    if len(groups) > 1 and len(groups[-1]) < LEAST:
        last = groups.pop()
        groups[-1] += last
    return groups


def _bin(group: Sequence[tuple[float, bool, str]], before: float, alike: float) -> Bin:
    nats = [said for said, _, _ in group]
    predicted = sum(probability(said + before) for said in nats) / len(group)
    abuse = sum(1 for _, bad, _ in group if bad)
    sizes = Counter(account for _, _, account in group)
    least, most = wilson(abuse, len(group), 1 + (_size(sizes.values(), len(group)) - 1) * alike)
    ends = math.floor(min(nats)), math.floor(max(nats)) + 1
    return Bin(*ends, len(group), abuse, len(sizes), predicted, least, most)


def _alike(group: Sequence[tuple[float, bool, str]]) -> float:
    """How alike messages of one account are (correlation within clusters): 0, independent, to 1, one says it all."""
    share = sum(1 for _, bad, _ in group if bad) / len(group)
    by_account: dict[str, list[bool]] = {}
    for _, bad, account in group:
        by_account.setdefault(account, []).append(bad)
    clusters = len(by_account)
    if not 0 < share < 1 or clusters < 2:
        return 0.0
    spread = sum((sum(bad) - share * len(bad)) ** 2 for bad in by_account.values()) * clusters / (clusters - 1)
    effect = spread / (len(group) * share * (1 - share))
    size = _size([len(bad) for bad in by_account.values()], len(group))
    return min(max((effect - 1) / (size - 1), 0.0), 1.0) if size > 1 else 0.0


def _size(sizes: Iterable[int], count: int) -> float:
    """Messages of an account, as a message meets them."""
    return sum(size * size for size in sizes) / count


def _replayed(options: argparse.Namespace) -> Iterable[tuple[Path, Path]]:
    """Traces, made and replayed as scripts/detect does."""
    options.results.mkdir(parents=True, exist_ok=True)
    model = options.model or lab.half_model(options.results)
    for seed in options.seeds:
        trace = lab.trace(options.results, options.size, seed, "trace")
        print(f"scripts/calibration: {trace.name}", file=sys.stderr)
        yield lab.replay(trace, options.results / f"{trace.name}-calibration.run.jsonl", model, None), trace


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/calibration", description=__doc__)
    parser.add_argument("--size", default="small", choices=("tiny", "small", "full"))
    parser.add_argument("--seeds", default="1,2,3", type=lambda text: text.split(","), help="comma list; default 1,2,3")
    parser.add_argument("--model", type=Path, help="this content model, instead of one that has seen no trace's texts")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for traces, models and runs")
    parser.add_argument(
        "--run", nargs=2, action="append", metavar=("RUN", "TRACE"), help="a run that is there already, and its trace"
    )
    parser.add_argument("--prior", type=_share, help="probability of abuse to begin with; default: its share")
    parser.add_argument("--out", type=Path, help="the picture, SVG (default: calibration.svg in --results)")
    options = parser.parse_args(argv)
    options.results = options.results.absolute()
    options.model = options.model.absolute() if options.model else None
    options.out = (options.out or options.results / "calibration.svg").absolute()
    return options


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError("a probability between 0 and 1")
    return share


if __name__ == "__main__":
    raise SystemExit(main())
