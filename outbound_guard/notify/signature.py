"""The signature on what we send by HTTP, by which a receiver knows that it is ours, whole and new.

    X-Outbound-Guard-Notice: 01JD...                the id; the same when it is sent again
    X-Outbound-Guard-Timestamp: 1764000000          unix seconds of this try
    X-Outbound-Guard-Signature: v1=6f2a...          HMAC-SHA256, hexadecimal

What is signed is the timestamp, a full stop, the id, a full stop, and the body as it is sent. With two keys, while one
is changed for the other, there are two signatures, divided by a comma and a space. docs/notices.md tells receivers how
to check them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

NOTICE, TIMESTAMP, SIGNATURE = (f"X-Outbound-Guard-{name}" for name in ("Notice", "Timestamp", "Signature"))


def signed(id_: str, now: float, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The header fields for a body that is sent at `now` (unix seconds); without keys there is no signature."""
    timestamp = str(int(now))
    fields = {NOTICE: id_, TIMESTAMP: timestamp}
    if keys:
        text = f"{timestamp}.{id_}.".encode() + body
        made = [hmac.new(key, text, hashlib.sha256).hexdigest() for key in keys]
        fields[SIGNATURE] = ", ".join(f"v1={one}" for one in made)
    return fields


def keys_of(content: bytes) -> list[bytes]:
    """The keys in a file: its first two lines that are not empty, without white space around them."""
    return [line.strip() for line in content.splitlines() if line.strip()][:2]
