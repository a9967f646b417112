"""Does it forward? An envelope sender that says so (SRS) is written by whoever sends the message."""

from __future__ import annotations

import msgspec

from outbound_guard.mail import Sender
from outbound_guard.reputation.memory import Memory

_MAILBOXES = 50.0
"""Recipients that the forwardings of one address may have."""
_SHARE = 0.2
"""Part of what has been sent that may besides go to new ones: forwardings are set up and changed."""


def believed(sender: Sender, memory: Memory) -> Sender:
    """`sender`, unless it calls itself a forwarder and is none: then it is judged as any address is.

    What is forwarded goes to the same few mailboxes again and again; a script that writes SRS addresses to be taken for
    a forwarder, which is never convicted, has a list to write to.
    """
    if sender.kind != "forwarder" or not memory.available:
        return sender
    sent, new = memory.keeper.recipients + memory.recipients, memory.keeper.new + memory.new_recipients
    return msgspec.structs.replace(sender, kind="address") if new > _MAILBOXES + _SHARE * sent else sender
