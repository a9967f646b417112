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
    customers,
    customers_desk,
    feedback,
    held,
    held_decisions,
    held_second,
    me,
    messages,
    notices,
    now,
    own,
    panels,
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
    held_second,
    queue,
    queue_acts,
    feedback,
    suppression,
    notices,
    policy,
    policy_edit,
    backtests,
    weights,
    customers,
    customers_desk,
    own,
    panels,
)

PAGES: tuple[Any, ...] = tuple(handler for area in AREAS for handler in area.PAGES)
API: tuple[Any, ...] = tuple(handler for area in AREAS for handler in area.API)
