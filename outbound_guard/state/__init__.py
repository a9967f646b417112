"""The store of counters and memory: Redis or Valkey, somebody else's or the one that the supervisor runs.

It holds only what may be lost or rebuilt. `client` is the way in; `lane` is the way to one server, and `slots` says
which of a cluster's; `where` finds the servers and `wire` talks to one, and only these know redis-py; `embedded` runs a
private server; `tether` ties one process's life to another's.
"""

from outbound_guard.state.client import State
from outbound_guard.state.script import Script, StateDown, StateError

__all__ = ["Script", "State", "StateDown", "StateError"]
