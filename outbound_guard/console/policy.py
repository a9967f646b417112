"""Area: the policy. What is in force and in shadow, a new text for it with its check, and what was there before."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from outbound_guard.config import Allow, Thresholds
from outbound_guard.console.access import Asked
from outbound_guard.console.pages import page
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.policy.effect import Effect, effects
from outbound_guard.desk.policy.in_force import (
    Copy,
    InForce,
    Setting,
    copies,
    copy_text,
    days_left,
    how_to_have_a_file,
    in_force,
)
from outbound_guard.desk.policy.meaning import meanings
from outbound_guard.desk.policy.weights import weights_show
from outbound_guard.ledger.database import LedgerError
from outbound_guard.signals import CHECKS

_SHOWN_TESTS = 10


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """A signal as it is in force, and what it did lately."""

    name: str
    mode: str
    """on | shadow | off"""
    scale: float
    factor: float
    """What this installation has learned: its weight is multiplied by this."""
    adapts: bool
    volume: bool
    """It is about volume alone: it may hold, it never convicts."""
    about: str
    effect: Effect | None
    """What it did in the messages that were looked at."""
    settings: tuple[Setting, ...]
    """Its own, without `mode` and `scale`."""


class AllowRule(msgspec.Struct, frozen=True, kw_only=True):
    """An allow rule and how long it still holds."""

    rule: Allow
    days_left: int
    """Its last day included; below 1: it has ended."""


class PolicyShown(msgspec.Struct, frozen=True, kw_only=True):
    """The policy in force."""

    in_force: InForce
    signals: tuple[Spoken, ...]
    looked_at: int
    """Messages of the last seven days, at most the last 1000, in which the signals' effect was counted."""
    allow: tuple[AllowRule, ...]


class Text(msgspec.Struct, frozen=True):
    """The text of a policy file."""

    text: str


class Copies(msgspec.Struct, frozen=True):
    """Texts that were the policy once, the last replaced first."""

    items: list[Copy]
    total: int


async def _shown(tools: Tools) -> PolicyShown:
    now = await asyncio.to_thread(in_force, tools.config)
    thresholds = Thresholds(**{name: now.value(f"threshold.{name}") for name in Thresholds.__struct_fields__})
    try:
        looked, found = await asyncio.to_thread(effects, tools.reader, tools.clock.now(), thresholds)
        weights = {row["signal"]: row for row in await asyncio.to_thread(weights_show, tools.reader)}
    except LedgerError:
        # What is in force is known without the ledger.
        looked, found, weights = 0, {}, {}
    signals = tuple(_signal(check, now, found, weights) for check in CHECKS)
    rules = tuple(AllowRule(rule=rule, days_left=days_left(rule, tools.clock.now())) for rule in now.allow)
    return PolicyShown(in_force=now, signals=signals, looked_at=looked, allow=rules)


def _signal(check: Any, now: InForce, found: dict[str, Effect], weights: dict[str, dict[str, Any]]) -> Spoken:
    where, weight = f"signal.{check.NAME}.", weights.get(check.NAME, {})
    own = tuple(setting for setting in now.settings if setting.where.startswith(where))
    return Spoken(
        name=check.NAME,
        mode=now.value(where + "mode"),
        scale=now.value(where + "scale"),
        factor=weight.get("factor", 1.0),
        adapts=weight.get("adapts", False),
        volume=check.VOLUME,
        about=meanings().get(f"signal.{check.NAME}", ""),
        effect=found.get(check.NAME),
        settings=tuple(setting for setting in own if setting.where not in (where + "mode", where + "scale")),
    )


# -- API -------------------------------------------------------------------------------------------------------------


@get("/policy", needs="read")
async def policy_api(tools: GivenTools) -> PolicyShown:
    """The policy in force: its text, every setting and where it comes from, and what each signal did lately."""
    return await _shown(tools)


@get("/policy/copies", needs="policy")
async def copies_api(tools: GivenTools) -> Copies:
    """Texts that were the policy once."""
    found = await asyncio.to_thread(copies, tools.config)
    return Copies(found, len(found))


@get("/policy/copies/{name:str}", needs="policy")
async def copy_api(tools: GivenTools, name: FromPath[str]) -> Text:
    """One of them."""
    return Text(await asyncio.to_thread(copy_text, tools.config, name))


# -- Pages -----------------------------------------------------------------------------------------------------------


@get("/policy", needs="read")
async def policy_page(request: Asked, tools: GivenTools) -> Response[str]:
    """What is in force, what is in shadow, and what was there before."""
    shown = await _shown(tools)
    return page(
        request,
        "policy/show.html",
        shown=shown,
        tables=_tables(shown.in_force),
        meanings=meanings(),
        copies=(await asyncio.to_thread(copies, tools.config))[:20],
        tests=(await asyncio.to_thread(tools.backtests.all))[:_SHOWN_TESTS],
        how=how_to_have_a_file(tools.config),
    )


def _tables(now: InForce) -> dict[str, list[Setting]]:
    """The settings that are no signal's, by their table."""
    found: dict[str, list[Setting]] = {}
    for setting in now.settings:
        if not setting.where.startswith("signal."):
            found.setdefault(setting.where.rpartition(".")[0], []).append(setting)
    return found


PAGES = [policy_page]
API: list[Any] = [policy_api, copies_api, copy_api]
