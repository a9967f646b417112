"""The store of counters and memory: Redis or Valkey, somebody else's or the one that the supervisor runs.

It holds only what may be lost or rebuilt. `client` is the way in; `wire` is the one place that knows redis-py;
`embedded` runs a private server; `tether` ties one process's life to another's.
"""

from outbound_guard.state.client import State
from outbound_guard.state.script import Script, StateDown, StateError

__all__ = ["Script", "State", "StateDown", "StateError"]
