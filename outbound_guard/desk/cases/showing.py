"""A case as people and programs see it: what it is, what is to be done, what has happened."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from outbound_guard.config import Config
from outbound_guard.desk.cases.channels import way
from outbound_guard.desk.cases.overview import NEEDS, may_be_skipped, overview
from outbound_guard.desk.cases.stages import NAMES, STAGES, open_items, ready_to_file, stage_of
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import case_lists, case_queries
from outbound_guard.ledger.case_lists import CaseFilters
from outbound_guard.ledger.case_queries import Case, Event
from outbound_guard.ledger.database import Ledger


async def case_list(
    ledger: Ledger,
    now: float,
    filters: CaseFilters | None = None,
    *,
    by_due: bool = False,
    limit: int = 0,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """The cases that fit (without filters: open ones), the newest first, or first what was due first. `limit` 0: all.

    Each with the fields of `Case` but its checklist, and with `overdue, open_items, ready` (to go on).
    Raises LedgerError.
    """
    filters = filters or CaseFilters(state="open")
    found = await asyncio.to_thread(case_lists.found, ledger, filters, by_due=by_due, limit=limit, offset=offset)
    return [_file(case, now) for case in found]


async def case_show(ledger: Ledger, config: Config, now: float, id_: str) -> dict[str, Any]:
    """Everything about a case: `case_list`'s fields, `checklist` by stage, `channels`, `hindrances`, `history`.

    And what `overview` makes of it for now. Raises DeskError if there is none, LedgerError.
    """
    case, history = await case_and_history(ledger, id_)
    return (
        _file(case, now)
        | {
            "checklist": checklist(case),
            "channels": {s.source: msgspec.to_builtins(way(config, s)) for s in case.subjects if s.source},
            "hindrances": ready_to_file(case),
            "history": [msgspec.to_builtins(event) for event in history],
        }
        | overview(case, history, config, now)
    )


async def case_and_history(ledger: Ledger, id_: str) -> tuple[Case, list[Event]]:
    """A case and what has happened in it. Raises DeskError if there is none, LedgerError."""
    case = await asyncio.to_thread(case_queries.case_one, ledger, id_)
    if case is None:
        raise DeskError(f"no case {id_}")
    return case, await asyncio.to_thread(case_queries.events, ledger, id_)


def checklist(case: Case) -> list[dict[str, Any]]:
    """All items in order: `stage, item, asks, needs, machine, skippable, state, evidence, by, time`."""
    found = []
    for stage in STAGES:
        for item in stage.items:
            check = case.checks.get(item.name)
            found.append(
                {
                    "stage": stage.name,
                    "item": item.name,
                    "asks": item.asks,
                    "needs": NEEDS[item.name],
                    "machine": item.machine,
                    "skippable": may_be_skipped(case, item.name),
                    "state": (check.state if check else "") or "open",
                    "evidence": check.evidence if check else "",
                    "by": check.by if check and check.state else "",
                    "time": check.time if check and check.state else 0.0,
                }
            )
    return found


def _file(case: Case, now: float) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(case)
    del shown["checks"]
    missing = [item.name for item in open_items(case)] if case.state == "open" else []
    return shown | {
        "overdue": case.state == "open" and 0 < case.due < now,
        "open_items": missing,
        "ready": case.state == "open" and not missing,
        "stage_number": NAMES.index(stage_of(case).name) + 1,
    }
