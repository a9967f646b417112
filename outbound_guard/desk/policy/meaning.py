"""What each setting of the policy and each signal means, in the words of its own documentation."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import typing
from types import ModuleType

import msgspec

from outbound_guard.config import Policy
from outbound_guard.signals import CHECKS

_ANY_SIGNAL = {
    "mode": "on, shadow (recorded and shown, without effect) or off.",
    "scale": "Factor on the weight.",
}


@functools.cache
def meanings() -> dict[str, str]:
    """By the path of a setting, for example `threshold.hold`; by `signal.NAME` for a signal. Empty without sources."""
    found: dict[str, str] = {}
    _below("", Policy, found)
    for check in CHECKS:
        where = f"signal.{check.NAME}"
        found[where] = " ".join((check.__doc__ or "").strip().partition("\n\n")[0].split())
        found |= {f"{where}.{name}": text for name, text in _ANY_SIGNAL.items()}
        own = _fields(check).get("Settings", {})
        found |= {f"{where}.{name}": text for name, text in own.items()}
    return found


def _below(where: str, table: type[msgspec.Struct], found: dict[str, str]) -> None:
    said = _fields(sys.modules[table.__module__]).get(table.__name__, {})
    types = typing.get_type_hints(table)
    for name in table.__struct_fields__:
        path = f"{where}.{name}" if where else name
        if isinstance(types[name], type) and issubclass(types[name], msgspec.Struct):
            _below(path, types[name], found)
        elif name in said:
            found[path] = said[name]


@functools.cache
def _fields(module: ModuleType) -> dict[str, dict[str, str]]:
    """What stands below each field of each class of a module."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, SyntaxError):
        return {}
    found: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            fields = found.setdefault(node.name, {})
            for field, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                    and isinstance(text.value.value, str)
                ):
                    fields[field.target.id] = " ".join(text.value.value.split())
    return found
