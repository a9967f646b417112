"""One setting of a policy's text changed, and everything else left as it is written, comments and all."""

from __future__ import annotations

import re

from outbound_guard.config import Allow
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.policy.candidate import changes, line_of, read_candidate, toml

_VALUE = re.compile(
    r"""(?P<key>\s*"?[\w-]+"?\s*=\s*)(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s#\[{"']+)(?P<rest>\s*(?:\#.*)?)""", re.X
)
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def with_setting(text: str, where: str, value: str) -> str:
    """`text` with the setting `where` at `value`: a number, or a word. Raises DeskError if that cannot be done here."""
    # The whole thing is checked at the end, so a wrong guess of the place does no harm.
    table, _, key = where.rpartition(".")
    written = value if _NUMBER.fullmatch(value) or value in ("true", "false") else toml(value)
    before = read_candidate(text).policy
    if before is None or not re.fullmatch(r"[\w.]+", where):
        raise DeskError("the text has mistakes, so it can only be changed by hand")
    lines = text.split("\n")
    at = line_of(text, where)
    found = _VALUE.fullmatch(lines[at - 1]) if at else None
    if found and found["key"].strip(' \t="') == key:
        lines[at - 1] = f"{found['key']}{written}{found['rest']}"
    elif header := line_of(text, table):
        lines.insert(header, f"{key} = {written}")
    else:
        lines = [*_without_empty_end(lines), "", f"[{table}]", f"{key} = {written}", ""]
    after = "\n".join(lines)
    candidate = read_candidate(after)
    if candidate.policy is None:
        problem = candidate.problems[0]
        raise DeskError(f"{problem.where or where}: {problem.what}")
    if any(change.where != where for change in changes(before, candidate.policy)):
        raise DeskError(f"{where} is written in a way that can only be changed by hand")
    return after


def with_allow_rule(text: str, rule: Allow) -> str:
    """`text` with one more allow rule at its end. Raises DeskError if it cannot be."""
    fields = [(name, getattr(rule, name)) for name in rule.__struct_fields__]
    block = ["[[allow]]", *(f"{name} = {toml(value)}" for name, value in fields if value)]
    after = "\n".join([*_without_empty_end(text.split("\n")), "", *block, ""])
    problems = read_candidate(after).problems
    if problems:
        raise DeskError(f"{problems[0].where}: {problems[0].what}")
    return after


def without_allow_rule(text: str, number: int) -> str:
    """`text` without its allow rule of that number, counted from 0. Raises DeskError if it cannot be taken out here."""
    before = read_candidate(text).policy
    at = line_of(text, f"allow[{number}]")
    lines = text.split("\n")
    if before is None or number >= len(before.allow) or not at or not lines[at - 1].lstrip().startswith("[["):
        raise DeskError("this rule can only be taken out by hand")
    end = at
    while end < len(lines) and not lines[end].lstrip().startswith("["):
        end += 1
    # Comments and empty lines before the next table belong to that.
    while end > at and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    after = "\n".join(lines[: at - 1] + lines[end:])
    policy = read_candidate(after).policy
    if policy is None or policy.allow != before.allow[:number] + before.allow[number + 1 :]:
        raise DeskError("this rule can only be taken out by hand")
    return after


def _without_empty_end(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines
