"""One message through one set of next hops: which host, which connection, and what to do when one breaks.

A message is tried again, on a new connection or at another host, as long as it is certain that nobody has accepted it;
from another address or at another host for those recipients for whom our address was refused, and only for them.
Once its final dot is out and no answer came, it may have been: the caller is told 451, and the client or our queue
sends it again. It may then arrive twice; it is never lost.
"""

from __future__ import annotations

import asyncio

import msgspec

from outbound_guard.delivery.attempt import Attempt
from outbound_guard.delivery.classes import refuses_us
from outbound_guard.delivery.connection import Broken
from outbound_guard.delivery.hops import Hops
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.wire import Mail
from outbound_guard.reply import NO_NEXT_HOP, Reply

BROKEN = Reply(451, "4.4.2", "OG-BROKEN the connection to the next hop broke, please try again")


async def carry(hops: Hops, mail: Mail, attempt: Attempt) -> Result:
    """Deliver `mail`, which is not hopeless; one reply for each recipient. Never raises for what the network does."""
    result = await _carried(hops, mail, attempt)
    return msgspec.structs.replace(result, relayed=mail.relayed) if mail.relayed else result


async def _carried(hops: Hops, mail: Mail, attempt: Attempt) -> Result:
    while True:
        found = hops.at_hand(attempt) or await hops.connection(attempt)
        if isinstance(found, Reply):
            if found is not NO_NEXT_HOP:
                attempt.verdict = (found, "", False, "")
            return attempt.given_up()
        host, connection = found
        commands, replies = mail.commands(connection.extensions)
        if not commands:
            host.works()
            hops.release(host, connection)
            if attempt.refusals is None:
                return Result(tuple(reply for reply in replies if reply), host.name)
            attempt.failed |= {host}
            continue
        reused = connection.transactions > 0
        try:
            answers = await connection.transact(commands, mail.body, attempt.until)
        except Broken as broken:
            if broken.sent:
                hops.fails(host, broken.reason, "no answer to the end of data")
                hops.event("unknown")
                return attempt.unknown(BROKEN, host, connection.source or "")
            if broken.reply is not None and refuses_us(broken.reply):
                attempt.refused(broken.reply, host, connection.source or "")
                if hops.refused(attempt, host, connection, broken.reply):
                    host.works()  # It does answer.
                    continue
            elif reused and not broken.answered and not attempt.stale and broken.reason != "timeout":
                # It had gone stale (the other side closes idle ones, often with a 421): no failure yet.
                hops.event("stale")
                attempt.stale = True
                attempt.fresh = host
                continue
            hops.fails(host, broken.reason, str(broken.reply or "before the end of data"))
            attempt.failed |= {host}
            reply = broken.reply
            said = (_not_closing(reply), host.name, True) if reply else (BROKEN, host.name, False)
            attempt.verdict = (*said, connection.source or "")
            if broken.reason == "timeout" or attempt.exhausted:
                return attempt.given_up()  # The client does not wait for ever.
        except asyncio.CancelledError:
            host.probing = False
            raise
        else:
            host.works()
            if len(answers) != len(replies):
                rest = iter(answers)
                answers = [reply or next(rest) for reply in replies]
            mail.taken(connection.extensions, answers)
            source, refusal = connection.source or "", None
            if connection.refused or attempt.refusals:
                refusal = attempt.note(answers, host, source)
            if refusal is not None:
                hops.refused(attempt, host, connection, refusal)
            hops.release(host, connection)
            if attempt.refusals is None:
                return Result(tuple(answers), host.name, source=source)
            if attempt.refusals.settled or attempt.exhausted:
                return attempt.given_up()
            if attempt.fresh is None:
                attempt.failed |= {host}


def _not_closing(reply: Reply) -> Reply:
    """The 421 of a next hop as 451: it closes its session with us, we do not close ours with the client."""
    return Reply(451, reply.enhanced, reply.text)
