"""The content model: a linear sum over the features of a message, turned into a calibrated weight of evidence.

Training gives every feature a weight; their sum, divided by the square root of the number of features so
that long messages do not count more than short ones, is the raw score. The calibration maps it to what a verdict needs:
the logarithm of how much more often spam than ham has such a score, from sources that the model had not seen.
The file (see `save`) holds names, not only hashes, so that a decision can say which words it rests on.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from itertools import repeat
from pathlib import Path

import msgspec

from outbound_guard.content import features, urls
from outbound_guard.content.features import Feature
from outbound_guard.content.message import Message
from outbound_guard.mail import domain_of

_MAGIC = b"OGCM\x02\r\n\x00"
_LOWEST, _HIGHEST = -4.0, 6.0
MAX_FILE = 16_000_000
"""Octets of a model file; a longer one is no model."""
MAX_UNPACKED = 64_000_000
_KINDS = {
    b"s:": "subject word",
    b"S:": "subject words",
    b"d:": "sender's name holds",
    b"t:": "page title holds",
    b"g:": "letters",
    b"u:": "links:",
    b"a:": "attachment:",
    b"f:": "form:",
}


_ZEROS = repeat(0.0)
TEXTS = 4096
"""Texts whose opinion is kept, some 2 MB."""
_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))


class ModelError(Exception):
    """A model file cannot be used; the text says which and why."""


class About(msgspec.Struct, frozen=True):
    """What a model file says about itself."""

    bias: float
    scale: float
    """What one step of the stored weights (16 bit) is worth: a power of two, so that sums are exact."""
    scores: list[float]
    """Raw scores, ascending, at which the calibration has a knot."""
    weights: list[float]
    """Weight of evidence at each knot, nats, never falling."""
    trained: str = ""
    """How it was made: seed, number of messages."""


Reading = tuple[float, str]
"""Weight of evidence (nats, positive speaks for spam), and a sentence that says why."""


class Model:
    """Scores messages. What it said of a text is kept: the copies of a mailing are not read one by one."""

    __slots__ = ("_bias", "_said", "_scores", "_slopes", "_weights", "about", "by_name", "texts")

    def __init__(self, by_name: Mapping[Feature, float], about: About) -> None:
        self.by_name = dict(by_name)
        self.about = about
        self.texts = TEXTS
        """Opinions that are kept; 0: every message is read."""
        self._said: dict[tuple[object, ...], Reading] = {}
        self._bias = about.bias
        self._scores = about.scores
        self._weights = about.weights
        if len(about.scores) < 2 or len(about.scores) != len(about.weights):
            raise ModelError("the calibration of the content model has no two knots")
        self._slopes = [
            (after - before) / (right - left) if right > left else 0.0
            for left, right, before, after in zip(
                about.scores, about.scores[1:], about.weights, about.weights[1:], strict=False
            )
        ]

    def raw(self, found: Sequence[Feature]) -> float:
        """The uncalibrated score of a message's features."""
        return sum(map(self.by_name.get, found, _ZEROS)) / math.sqrt(len(found) + 1) + self._bias

    def evidence(self, raw: float) -> float:
        """The weight of evidence (nats, -4 to 6) that a raw score stands for."""
        place = bisect_right(self._scores, raw) - 1
        if place < 0:
            return max(_LOWEST, self._weights[0])
        if place >= len(self._slopes):
            return min(_HIGHEST, self._weights[-1])
        weight = self._weights[place] + self._slopes[place] * (raw - self._scores[place])
        return min(_HIGHEST, max(_LOWEST, weight))

    def score(self, message: Message) -> Reading:
        """What the content of a message says, or of a copy that came before."""
        key = _what_copies_share(message) if self.texts else None
        if key is None:
            return self._read(message)
        said = self._said.get(key)
        if said is None:
            said = self._said[key] = self._read(message)
            if len(self._said) > self.texts:
                del self._said[next(iter(self._said))]
        return said

    def _read(self, message: Message) -> Reading:
        found = features.found(message)
        values = list(map(self.by_name.get, found, _ZEROS))
        weight = self.evidence(sum(values) / math.sqrt(len(values) + 1) + self._bias)
        if weight >= 1.0:
            words = ", ".join(_strongest(list(found), values))
            which = f" ({words})" if words else ""
            return weight, f"the content is {_times(weight)} as common in spam as in ham{which}"
        if weight <= -1.0:
            return weight, f"the content is {_times(-weight)} as common in ham as in spam"
        where = "spam" if weight > 0 else "ham"
        return weight, f"the content says little either way: {_times(abs(weight))} as common in {where}"

    def explain(self, message: Message, count: int = 10) -> list[tuple[str, float]]:
        """The features that count most, in words, each with its share of the raw score, strongest first."""
        found = features.extract(message)
        root = math.sqrt(len(found) + 1)
        shares = [(describe(name), self.by_name[name] / root) for name in found if name in self.by_name]
        return heapq.nlargest(count, shares, key=lambda share: abs(share[1]))


def _what_copies_share(message: Message) -> tuple[object, ...] | None:
    """All that is read of a message but what differs between the copies of a mailing; None for too little text.

    Hosts and files are in it: a text that is known to be harmless says nothing for another link under it.
    """
    if not message.fingerprint:
        return None
    reply_to = message.reply_to
    return (
        message.fingerprint,
        message.subject.translate(_NO_DIGITS),
        message.display_name.translate(_NO_DIGITS),
        message.written_hosts,
        message.links_to(urls.registrable(message.from_domain)),
        bool(reply_to) and domain_of(reply_to) != message.from_domain,
        message.file_names,
        message.defects,
    )


def _strongest(found: Sequence[Feature], values: list[float]) -> Iterator[str]:
    """The up to three features that speak most for spam, in words. `values`, the weights of `found`, are used up."""
    for value in sorted(filter(None, values))[:-4:-1]:
        if value > 0:
            place = values.index(value)
            values[place] = 0.0
            yield describe(found[place])


def _times(weight: float) -> str:
    ratio = math.exp(weight)
    return f"{ratio:.0f} times" if ratio >= 10 else f"{ratio:.1f} times"


def describe(name: Feature) -> str:
    """A feature in words."""
    if isinstance(name, tuple):
        return f'"{name[0].decode("utf-8", "replace")} {name[1].decode("utf-8", "replace")}"'
    kind, rest = _KINDS.get(name[:2]), name[2:].decode("utf-8", "replace")
    if kind is None:
        return f'"{name.decode("utf-8", "replace")}"'
    if kind.endswith(":"):
        return f"{kind} {rest}"
    return f'{kind} "{rest}"'


def _written(name: Feature) -> bytes:
    """A feature as it stands in the file."""
    return b" ".join(name) if isinstance(name, tuple) else name


def _read_name(line: bytes, words: dict[bytes, bytes]) -> Feature:
    first, space, second = line.partition(b" ")
    if not space or line.startswith(b"S:"):
        return line
    # One object for each word, however many pairs hold it: a third of the memory.
    return words.setdefault(first, first), words.setdefault(second, second)


def pack(by_name: Mapping[Feature, float], about: About) -> bytes:
    """A model as the octets of a file: magic, SHA-256 of the rest, length of `About` as JSON, JSON, compressed weights.

    A weight is stored in 16 bits (little-endian), as a multiple of `about.scale`. Features stay in their order: with
    the frequent ones first, what most messages look up lies together in memory.
    """
    rows = []
    for name, weight in by_name.items():
        steps = max(-32767, min(32767, round(weight / about.scale)))
        line = _written(name)
        if steps and b"\n" not in line:
            rows.append((line, steps))
    names = b"\n".join(line for line, _ in rows)
    body = len(names).to_bytes(4, "little") + names + struct.pack(f"<{len(rows)}h", *[steps for _, steps in rows])
    text = msgspec.json.encode(about)
    rest = len(text).to_bytes(4, "little") + text + zlib.compress(body, 9)
    return _MAGIC + hashlib.sha256(rest).digest() + rest


def unpack(data: bytes, source: str) -> Model:
    """The model in the octets of a file; `source` names it in errors. Raises ModelError."""
    if len(data) < len(_MAGIC) + 36 or not data.startswith(_MAGIC[:4]):
        raise ModelError(f"{source} is no content model")
    if not data.startswith(_MAGIC):
        raise ModelError(f"{source} is a content model of another version, or was changed in transfer")
    digest, rest = data[len(_MAGIC) : len(_MAGIC) + 32], data[len(_MAGIC) + 32 :]
    if hashlib.sha256(rest).digest() != digest:
        raise ModelError(f"{source} is damaged or cut off: its checksum does not fit")
    try:
        length = int.from_bytes(rest[:4], "little")
        about = msgspec.json.decode(rest[4 : 4 + length], type=About)
        body = zlib.decompressobj().decompress(rest[4 + length :], MAX_UNPACKED)
        end = 4 + int.from_bytes(body[:4], "little")
        names = body[4:end].split(b"\n") if end > 4 else []
        steps = struct.unpack(f"<{(len(body) - end) // 2}h", body[end:])
    except (msgspec.MsgspecError, zlib.error, struct.error, ValueError) as error:
        raise ModelError(f"{source} cannot be read: {error}") from error
    if len(names) != len(steps):
        raise ModelError(f"{source} holds {len(names)} features but {len(steps)} weights")
    words: dict[bytes, bytes] = {}
    # One object for each weight, too.
    weights = {step: step * about.scale for step in set(steps)}
    return Model({_read_name(name, words): weights[step] for name, step in zip(names, steps, strict=True)}, about)


def load(path: Path | None = None) -> Model:
    """The model in the file `path`, or the packaged one. Raises ModelError with a sentence for people."""
    try:
        if path is None:
            file = resources.files("outbound_guard.content").joinpath("weights.bin")
            source = "the packaged content model"
            data = file.read_bytes()
        else:
            source = str(path)
            with path.open("rb") as handle:
                data = handle.read(MAX_FILE + 1)
    except OSError as error:
        raise ModelError(f"the content model {path or ''} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise ModelError(f"{source} is longer than {MAX_FILE} octets: no content model")
    return unpack(data, source)


def monotone(points: Iterable[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Pool adjacent violators: (x, y, weight) in ascending order of x to (x, y) with y never falling."""
    pools: list[list[float]] = []
    for x, y, weight in points:
        pools.append([x * weight, y * weight, weight])
        while len(pools) > 1 and pools[-2][1] * pools[-1][2] > pools[-1][1] * pools[-2][2]:
            last = pools.pop()
            pools[-1] = [one + other for one, other in zip(pools[-1], last, strict=True)]
    return [(x / weight, y / weight) for x, y, weight in pools]
