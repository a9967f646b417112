"""The areas of the console, each a module with its pages and its part of the API."""

from __future__ import annotations

from typing import Any

from outbound_guard.console import (
    about,
    accounts,
    addresses,
    audit,
    backtests,
    blocked,
    cases,
    content,
    feedback,
    held,
    held_decisions,
    me,
    messages,
    now,
    policy,
    policy_edit,
    queue,
    queue_acts,
    signin,
    suppression,
    tokens,
    users,
    weights,
)

AREAS = (
    about,
    accounts,
    addresses,
    cases,
    blocked,
    signin,
    me,
    users,
    tokens,
    now,
    messages,
    audit,
    content,
    held,
    held_decisions,
    queue,
    queue_acts,
    feedback,
    suppression,
    policy,
    policy_edit,
    backtests,
    weights,
)

PAGES: tuple[Any, ...] = tuple(handler for area in AREAS for handler in area.PAGES)
API: tuple[Any, ...] = tuple(handler for area in AREAS for handler in area.API)
