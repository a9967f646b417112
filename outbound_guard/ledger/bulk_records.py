"""What is recorded of decisions about many held messages; part of `records`."""

from __future__ import annotations

import msgspec


class BulkPlaced(msgspec.Struct, frozen=True, omit_defaults=True, tag="bulk_placed"):
    """Somebody decided about many held messages at once. It is carried out when `due` has come."""

    id: str
    time: float
    act: str
    """release | delete | return"""
    ids: tuple[str, ...]
    by: str = "system"
    reason: str = ""
    teach: bool = False
    """Learn from it: a release says that the mail was honest, a deletion that it was abuse."""
    due: float = 0.0
    """Unix seconds; until then it may be undone."""
    meant: str = ""
    """Which messages were meant, in words."""
    person: str = ""
    """If it waits for a second person, who has decided: a user's name; then `due` is until when it waits."""
    delay: float = 0.0
    """Likewise: seconds in which it can be undone after somebody has confirmed it."""


class BulkChange(msgspec.Struct, frozen=True, omit_defaults=True, tag="bulk_change"):
    """A decision about many held messages came a step further, or was taken back."""

    id: str
    time: float
    state: str
    """placed (a second person has confirmed it) | refused | expired | running | done | undone"""
    by: str = "system"
    due: float = 0.0
    """Of placed: when it is carried out."""
    remarks: tuple[str, ...] = ()
    """What did not go as it should besides single messages."""


class BulkResult(msgspec.Struct, frozen=True, array_like=True):
    """What became of one message of many."""

    id: str
    state: str
    """done | gone (it was not held any more) | failed"""
    detail: str = ""


class BulkDone(msgspec.Struct, frozen=True, omit_defaults=True, tag="bulk_done"):
    """Messages of a decision about many were seen to."""

    id: str
    time: float
    results: tuple[BulkResult, ...]
