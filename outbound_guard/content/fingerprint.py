"""Is it the same text again? An exact hash of the normalised text, and a sketch for texts that are nearly the same.

Both look past what mass mail changes from copy to copy: digits, white space, punctuation, case, addresses, links and
the recipient's name. The sketch keeps the smallest of the hashes of all runs of three words: two texts that share
most of their words in order share most of these (Broder 1997).
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import xxhash

MAX_WORDS = 800
"""Words of the text that count."""
MIN_LETTERS = 40
"""With fewer letters left, two texts are the same by chance: there is no fingerprint."""
SKETCH = 16

# Everything in ASCII that is no letter; octets of other scripts stay.
_NOT_LETTERS = bytes(c for c in range(128) if not chr(c).isalpha())
_LETTERS_ONLY = bytes(c if c > 127 or chr(c).isalpha() else 32 for c in range(256))


def words_of(lower: str) -> list[str]:
    """The words of a text in lower case that are no addresses or URLs."""
    words = lower.split(None, MAX_WORDS)[:MAX_WORDS]
    if "@" in lower or "://" in lower:
        words = [word for word in words if "@" not in word and "://" not in word]
    return words


def without_names(words: list[str], names: frozenset[str]) -> list[str]:
    """Those that stay the same in every copy of a mailing, whoever's `names` the recipient's are."""
    return words if names.isdisjoint(words) else [word for word in words if word not in names]


def exact(words: Iterable[str]) -> int:
    """64-bit hash of the letters of `words`; 0 if there are too few of them."""
    letters = "".join(words).encode("utf-8", "surrogatepass").translate(None, _NOT_LETTERS)
    return xxhash.xxh3_64_intdigest(letters) or 1 if len(letters) >= MIN_LETTERS else 0


def sketch(words: Iterable[str]) -> tuple[int, ...]:
    """The smallest 16 hashes (32 bit, ascending) of the runs of three words; () below five words."""
    plain = " ".join(words).encode("utf-8", "surrogatepass").translate(_LETTERS_ONLY).split()
    if len(plain) < 5:
        return ()
    runs = set(map(crc32, map(b" ".join, zip(plain, plain[1:], plain[2:], strict=False))))
    # The CRC of texts that differ in one place differs by a constant: mix, so that the smallest are a fair sample.
    return tuple(sorted([(run * 0x9E3779B1 ^ run >> 15) * 0x85EBCA6B & 0xFFFFFFFF for run in runs])[:SKETCH])


def likeness(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """How much of two texts is the same, 0 to 1 (an estimate of Jaccard's index from two sketches)."""
    if not one or not other:
        return 0.0
    smallest = sorted({*one, *other})[: min(len(one), len(other))]
    shared = set(one) & set(other)
    return sum(value in shared for value in smallest) / len(smallest)


def bands(values: tuple[int, ...]) -> tuple[int, ...]:
    """Keys under which texts that are nearly the same meet: the four smallest values of the sketch."""
    return values[:4]
