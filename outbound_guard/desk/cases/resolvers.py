"""Do several resolvers say the same? Each is asked by itself, so that one that lies or is refused cannot hide it."""

from __future__ import annotations

import asyncio

import msgspec

from outbound_guard.blocklist.asking import Asking
from outbound_guard.blocklist.listing import LISTED
from outbound_guard.blocklist.lists import lists_of
from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.desk.cases.stages import DONE
from outbound_guard.desk.cases.words import cut
from outbound_guard.dns import Questions
from outbound_guard.ledger.case_queries import Case
from outbound_guard.ledger.records import CaseCheck, CaseEvent

SECONDS = 30.0
"""The longest that one resolver may take for all the lists of a case."""


async def confirmation(case: Case, config: Config, clock: Clock) -> CaseEvent | None:
    """An event with what each resolver says of the listings; None if there is nothing to ask, or it was done.

    The item is done when at least two resolvers have confirmed every listing. Raises ConfigError.
    """
    known = case.checks.get("resolvers")
    zones = {subject.source for subject in case.listed if subject.kind == "list"}
    lists = lists_of(config)
    wanted = tuple(dnsbl for dnsbl in lists.lists if dnsbl.label in zones)
    if not wanted or (known is not None and known.state):
        return None
    lists = msgspec.structs.replace(lists, lists=wanted)
    listed = {(s.subject, s.source) for s in case.listed if s.source in {dnsbl.label for dnsbl in wanted}}
    lines, confirmed = [], 0
    for resolver in config.blocklist.resolvers or config.dns.resolvers or ("",):
        found = await _asked(Asking(lists, Questions((resolver,) if resolver else ()), clock,
                                    per_second=config.blocklist.per_second,
                                    per_second_per_list=config.blocklist.per_second_per_list),
                             sorted({subject for subject, _ in listed}))  # fmt: skip
        said = [f"{s} on {z}: {found.get((s, z), 'no answer in time')}" for s, z in sorted(listed)]
        confirmed += all(found.get(key, "").startswith(LISTED) for key in listed)
        lines.append(f"resolver {resolver or 'of the system'}: {'; '.join(said)}")
    evidence = cut("\n".join(lines))
    state = DONE if confirmed > 1 else ""
    if known is not None and (known.state, known.evidence) == (state, evidence):
        return None
    now = clock.now()
    return CaseEvent(
        id=f"resolvers-{case.id}-{now:.0f}",
        case=case.id,
        time=case.not_before(now),
        what="found",
        text=f"resolvers: {confirmed} of {len(lines)} confirmed every listing; two are needed",
        checks={"resolvers": CaseCheck(state, evidence)},
    )


async def _asked(asking: Asking, subjects: list[str]) -> dict[tuple[str, str], str]:
    """What was found out in time, by subject and zone."""
    try:
        async with asyncio.timeout(SECONDS):
            answers = await asking.answers(subjects)
    except TimeoutError:
        return {}
    return {
        (answer.subject, answer.zone): f"{answer.state} ({', '.join(answer.codes) or answer.reason})"
        for answer in answers
    }
