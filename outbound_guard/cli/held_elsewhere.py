"""Acts on held mail that lies on other hosts with the same ledger: these are asked, and what they answer is awaited."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from outbound_guard.cli.room import Room

_PATIENCE = 15.0
"""Seconds that a command waits for the others' answers."""
_ACTS = {"released": "release", "deleted": "delete", "returned": "return"}


def ask_others(room: Room, arguments: argparse.Namespace, ids: Sequence[str], done: str) -> dict[str, dict[str, str]]:
    """Ask for those of the messages that lie on other hosts; the results by id. Raises DeskError, LedgerError."""
    from typing import cast

    from outbound_guard.desk.held.acts import Act
    from outbound_guard.desk.held.elsewhere import answers, ask, elsewhere

    act = cast(Act, _ACTS[done])
    keeps = {"release": lambda: not arguments.keep_suspicion, "delete": lambda: bool(arguments.abuse)}
    teach = keeps.get(act, lambda: False)()
    with room.ledger() as ledger:
        lying = elsewhere(ledger, room.config, ids)
        if not lying:
            return {}
        with room.journal() as journal:
            asked = asyncio.run(
                ask(ledger, journal, room.clock, list(lying), act, teach=teach, by=room.by, reason=arguments.reason)
            )
        told = {item.id: item for item in asyncio.run(answers(ledger, asked.id, _PATIENCE))}
    results = {}
    for id_, place in lying.items():
        item = told.get(id_)
        result = {"id": id_, "host": place.node, "decision": asked.id}
        if item and item.state == "done":
            result["result"] = done
        elif item and item.state in ("gone", "failed"):
            result |= {"result": "failed", "error": f"{id_}: {item.detail} (host {place.node})"}
        else:
            why = f"{id_} lies on {place.said}; it was asked (decision {asked.id}) and has not answered yet"
            result |= {"result": "asked", "error": why}
        results[id_] = result
    return results
