"""The abuse desk's pages and API, over the same functions of `desk` that the command line uses."""

from outbound_guard.console.tools import Tools
from outbound_guard.console.web import application

__all__ = ["Tools", "application"]
