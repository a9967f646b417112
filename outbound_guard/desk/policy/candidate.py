"""The text of a policy before it is used: everything that is wrong with it, and what it would change."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard.config import ConfigError, Mistake, Policy, check_policy, convert
from outbound_guard.signals import CHECKS, Panel

LARGEST = 256 * 1024
"""Characters of a policy."""
MOST_PROBLEMS = 20
_FILE = "policy"
"""What stands for the file's name in the messages of config/."""
_ANY_SIGNAL = ("mode", "scale")
"""Settings that every signal has."""
_STEP = re.compile(r"[^.\[\]]+|\[\d+\]")


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong with a policy."""

    where: str
    """The path of the setting, for example `allow[0].until`; empty if it is about all of it."""
    what: str
    line: int = 0
    """Where it stands in the text, as far as that is known; the first line is 1."""


class Change(msgspec.Struct, frozen=True):
    """A setting that two policies have different values for."""

    where: str
    before: str
    after: str
    """As TOML; empty: there is no such entry."""


class Candidate(msgspec.Struct, frozen=True):
    """The text of a policy, read."""

    text: str
    policy: Policy | None
    """None if something is wrong with it."""
    problems: tuple[Problem, ...] = ()


def read_candidate(text: str) -> Candidate:
    """Read the text of a policy file; what is wrong with it is in `problems`, at most 20."""
    if len(text) > LARGEST:
        return Candidate(text, None, (Problem("", f"is longer than {LARGEST} characters"),))
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        return Candidate(text, None, (Problem("", f"is not TOML: {error}", int(found[1]) if found else 0),))
    except RecursionError:
        return Candidate(text, None, (Problem("", "is not TOML: nested too deeply"),))
    problems: list[Problem] = []
    while len(problems) < MOST_PROBLEMS:
        try:
            policy = convert(Path(_FILE), table, Policy)
            _check(policy)
        except (ConfigError, Mistake) as error:
            where, _, what = str(error).removeprefix(f"{_FILE}: ").partition(": ")
            # What follows from a mistake that is named already is none of its own.
            if where not in {problem.where for problem in problems}:
                problems.append(Problem(where, what, line_of(text, where)))
            # Without what is wrong the rest can be looked at.
            if not _leave_out(table, where):
                break
        else:
            return Candidate(text, None if problems else policy, tuple(problems))
    return Candidate(text, None, tuple(problems))


def _check(policy: Policy) -> None:
    """Raises ConfigError, Mistake."""
    check_policy(policy)
    for check in CHECKS:
        own = {name: value for name, value in policy.signal.get(check.NAME, {}).items() if name not in _ANY_SIGNAL}
        try:
            convert(Path(_FILE), own, check.Settings)
        except ConfigError as error:
            raise ConfigError(f"signal.{check.NAME}.{str(error).removeprefix(f'{_FILE}: ')}") from None
    Panel(policy)


def _leave_out(table: dict[str, Any], where: str) -> bool:
    """Take what is at a path out of the table, or what is around it if it is not there; False if that is all of it."""
    steps = _STEP.findall(where)
    while steps:
        inner: Any = table
        try:
            for step in steps[:-1]:
                inner = inner[int(step[1:-1])] if step[0] == "[" else inner[step]
            del inner[int(steps[-1][1:-1]) if steps[-1][0] == "[" else steps[-1]]
        except (KeyError, IndexError, TypeError, ValueError):
            steps.pop()
        else:
            return True
    return False


def line_of(text: str, where: str) -> int:
    """The line (from 1) on which a setting stands, or its table begins; 0 if it is not found."""
    where = where.replace("[...]", "")
    table, _, key = where.rpartition(".")
    number = 0
    if found := re.fullmatch(r"(.*)\[(\d+)\]", table or where):
        table, number = found[1], int(found[2])
        key = key if found[0] != where else ""
        header = re.compile(rf"\s*\[\[\s*{re.escape(table)}\s*\]\]")
    else:
        header = re.compile(rf"\s*\[\s*{re.escape(table)}\s*\]")
    inside, begin = not table, 0
    for count, line in enumerate(text.split("\n"), 1):
        if header.match(line):
            inside, number = number == 0, number - 1
            begin = count if inside else begin
            if inside and not key:
                return count
        elif line.lstrip().startswith("["):
            # A table of that name may follow that holds no keys of its own before it.
            if re.match(rf"\s*\[\[?\s*{re.escape(where)}\s*\]", line):
                return count
            inside = False
        elif inside and key and re.match(rf"\s*\"?{re.escape(key)}\"?\s*[=.]", line):
            return count
    if "[" in where and not begin:
        return line_of(text, where.partition("[")[0])  # A list written in one line.
    return begin


# -- What a policy says, setting by setting --------------------------------------------------------------------------


def settings(policy: Policy) -> Iterator[tuple[str, Any]]:
    """Every setting that is in force with its path and value: those of the signals too, allow rules not."""
    yield from _of_table("", policy)
    for check in CHECKS:
        table = policy.signal.get(check.NAME, {})
        own = {"mode": "on", "scale": 1.0} | msgspec.to_builtins(check.Settings()) | table
        yield from ((f"signal.{check.NAME}.{name}", value) for name, value in own.items())


def _of_table(where: str, table: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    for name in table.__struct_fields__:
        value, path = getattr(table, name), f"{where}.{name}" if where else name
        if isinstance(value, msgspec.Struct):
            yield from _of_table(path, value)
        elif path not in ("allow", "signal"):
            yield path, value


def changes(before: Policy, after: Policy) -> list[Change]:
    """What differs in what two policies say, however their texts are written."""
    old, new = dict(settings(before)), dict(settings(after))
    found = [
        Change(where, toml(old.get(where)), toml(new.get(where)))
        for where in dict.fromkeys((*old, *new))
        if old.get(where) != new.get(where)
    ]
    found += [Change("allow", "", allow_line(rule)) for rule in after.allow if rule not in before.allow]
    found += [Change("allow", allow_line(rule), "") for rule in before.allow if rule not in after.allow]
    return found


def said(change: Change) -> str:
    """A change in one line."""
    if change.where == "allow":
        return f"allow rule {'added' if change.after else 'taken away'}: {change.after or change.before}"
    return f"{change.where}: {change.before or '-'} -> {change.after or '-'}"


def difference(before: str, after: str) -> list[str]:
    """The lines that differ between two texts, with two around them; each begins with `+`, `-`, `@` or a space."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    return list(lines)[2:2000]


def allow_line(rule: Any) -> str:
    """An allow rule in one line."""
    return ", ".join(f"{name} {value}" for name, value in msgspec.structs.asdict(rule).items() if value)


def toml(value: Any) -> str:
    """A value as it is written in the file; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A string of JSON is one of TOML, but for one control that JSON does not mind.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)


def written(policy: Policy) -> str:
    """A policy as the text of a file, every setting said."""
    tables: dict[str, list[str]] = {}
    for where, value in settings(policy):
        table, _, name = where.rpartition(".")
        tables.setdefault(table, []).append(f"{name} = {toml(value)}")
    parts = ["\n".join([f"[{table}]", *lines]) for table, lines in tables.items()]
    for rule in policy.allow:
        fields = msgspec.structs.asdict(rule).items()
        parts.append("\n".join(["[[allow]]", *(f"{name} = {toml(value)}" for name, value in fields if value)]))
    return "\n\n".join(parts) + "\n"
