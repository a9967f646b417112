"""From a TOML file to tables, and from a mistake to a sentence: `FILE: path.to[0].key: what is wrong; what is right`"""

from __future__ import annotations

import difflib
import re
import tomllib
import typing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")


class ConfigError(Exception):
    """The configuration cannot be used; the text says where the mistake is and what would be right."""


class Mistake(Exception):  # noqa: N818 -- it becomes a ConfigError as soon as the file's name is known.
    """A setting that cannot be used, before it is known in which file it stands."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")


class Table(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table of the file. Every key is optional unless it has no default."""


def read(path: Path) -> dict[str, Any]:
    """The file as it stands. Raises ConfigError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at octet {error.start}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is not TOML: nested too deeply") from error


def convert(path: Path, table: dict[str, Any], type_: type[_T]) -> _T:
    """The table with its types. Raises ConfigError for unknown keys and wrong types."""
    try:
        return msgspec.convert(table, type_)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_readable(str(error), table, type_)}") from error


_KINDS = {
    "str": 'a text in quotes, "..."',
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list, [...] or [[...]]",
    "object": "a table",
    "null": "nothing",
}


def _readable(message: str, table: dict[str, Any], type_: Any) -> str:
    """msgspec's message as a sentence, with the path in front as it stands in the file: `listener[0].tls: ...`."""
    what, _, where = message.partition(" - at `$")
    where = where.rstrip("`").lstrip(".")
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.S):
        known = [name for name in _keys(_type_at(type_, where)) if name != "path"]
        near = difflib.get_close_matches(found[1], known, n=1)
        where = f"{where}.{found[1]}" if where else found[1]
        what = f"unknown key; did you mean `{near[0]}`?" if near else f"unknown key; known here: {', '.join(known)}"
    elif found := re.fullmatch(r"Object missing required field `(.*)`", what):
        where = f"{where}.{found[1]}" if where else found[1]
        what = "is missing; every entry needs it"
    elif found := re.fullmatch(r"Expected `(\w+)`, got `(\w+)`", what):
        what = f"is {_KINDS.get(found[2], 'a ' + found[2])}; expected {_KINDS.get(found[1], found[1])}"
    elif what.startswith("Invalid enum value "):
        options = " | ".join(f'"{option}"' for option in typing.get_args(_type_at(type_, where)))
        value = _value_at(table, where)
        what = f'"{value}" is none of the possible values; expected {options}'
    return f"{where}: {what}" if where else what


def _steps(where: str) -> list[str]:
    return re.findall(r"[^.\[\]]+|\[(?:\d+|\.\.\.)\]", where)


def _type_at(type_: Any, where: str) -> Any:
    """The type of the setting at a path such as `listener[0].tls`."""
    for step in _steps(where):
        inner = typing.get_args(type_)
        type_ = inner[-1 if step == "[...]" else 0] if step.startswith("[") else _keys(type_).get(step)
    return type_


def _value_at(value: Any, where: str) -> Any:
    for step in _steps(where):
        value = value[int(step.strip("[]"))] if step.startswith("[") else value[step]
    return value


def _keys(type_: Any) -> dict[str, Any]:
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return {field.encode_name: field.type for field in msgspec.structs.fields(type_)}
    return {}
