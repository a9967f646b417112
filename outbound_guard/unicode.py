"""JSON of what strangers have written: text that is no Unicode is made so, and nothing fails for it."""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def to_json(value: Any) -> bytes:
    """The value as JSON in UTF-8, of one line; a lone surrogate in its texts becomes a question mark."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        # It stands for an octet that was no UTF-8 in what somebody has sent, or comes out of UTF-7.
        return _encode(_mended(msgspec.to_builtins(value)))


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return value
