"""Sending to some of a message's recipients, where the others have their answer already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from outbound_guard.delivery.result import Result
from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply


async def send_to_rest(
    known: Mapping[int, Reply], envelope: Envelope, send: Callable[[Envelope], Awaitable[Result]]
) -> Result:
    """The result for all recipients: for those at the places of `known` that reply, for the rest what `send` got."""
    if not known:
        return await send(envelope)
    total = len(envelope.recipients)
    rest = [place for place in range(total) if place not in known]
    if not rest:
        return Result(tuple(known[place] for place in range(total)), "", reached=False)
    recipients = tuple(envelope.recipients[place] for place in rest)
    result = await send(msgspec.structs.replace(envelope, recipients=recipients))
    replies, peers, sources = dict(known), [""] * total, [""] * total
    for index, place in enumerate(rest):
        replies[place] = result.replies[index]
        peers[place], sources[place] = result.peer_of(index), result.source_of(index)
    return msgspec.structs.replace(
        result,
        replies=tuple(replies[place] for place in range(total)),
        peers=tuple(peers),
        sources=tuple(sources),
        listed=tuple(rest[index] for index in result.listed),
        relayed=tuple(rest[index] for index in result.relayed),
    )
