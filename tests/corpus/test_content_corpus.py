"""The robustness corpus: bounces, reports, broken and odd mail. Nothing raises, nothing stalls."""

import json
import lzma
import time
from pathlib import Path

import pytest

from outbound_guard.content import Message, features, parse
from outbound_guard.content.defects import DEFECTS

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "robustness"
PROPERTIES = [name for name in dir(Message) if isinstance(getattr(Message, name), property)]
LONGEST = 0.05
"""CPU seconds that one message may hold the loop."""

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus folder beside the repository is absent")


def read_all(content: bytes) -> dict[str, object]:
    message = parse(content)
    features.extract(message)
    return {name: getattr(message, name) for name in PROPERTIES}


@pytest.mark.parametrize("kind", ["dsn", "arf", "malformed", "fixture"])
def test_robustness(kind: str) -> None:
    slow = []
    count = 0
    with lzma.open(CORPUS / f"{kind}.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            try:
                raw = record["raw"].encode("latin-1")
            except UnicodeEncodeError:
                raw = record["raw"].encode("utf-8", "surrogateescape")
            for content in (raw, raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")):
                count += 1
                # The least of three: what the machine does besides is not this message's doing.
                spent = LONGEST + 1
                for _ in range(3):
                    start = time.process_time()
                    found = read_all(content)
                    spent = min(spent, time.process_time() - start)
                    if spent < LONGEST:
                        break
                if spent >= LONGEST:
                    slow.append((record["path"], spent))
                assert set(found["defects"]) <= set(DEFECTS), record["path"]  # type: ignore[call-overload]
    assert count > 30
    assert not slow
