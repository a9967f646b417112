"""Messages at rest, crash-safe: the truth about held and queued mail."""

from outbound_guard.spool.entry import Entry, Failure, Progress, Seen, State, due_of, last_reply
from outbound_guard.spool.files import STATES, Busy, NotInSpool, SpoolFull
from outbound_guard.spool.spool import Lease, Spool, SpoolInUse

__all__ = [
    "STATES",
    "Busy",
    "Entry",
    "Failure",
    "Lease",
    "NotInSpool",
    "Progress",
    "Seen",
    "Spool",
    "SpoolFull",
    "SpoolInUse",
    "State",
    "due_of",
    "last_reply",
]
