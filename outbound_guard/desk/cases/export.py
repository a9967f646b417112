"""A case as one document, text or HTML, to hand on: redacted, escaped, and with nothing fetched from elsewhere."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from outbound_guard.desk.cases.opening import named, told_state
from outbound_guard.desk.cases.stages import CAUSES
from outbound_guard.desk.cases.words import day
from outbound_guard.desk.redaction.redact import redact

Section = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Heading, names of the columns (none: name and value), rows."""

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #bbb;padding:.3em .5em;text-align:left;"
    "vertical-align:top;white-space:pre-wrap;overflow-wrap:break-word}td:last-child{overflow-wrap:anywhere}"
    "th{background:#eee}"
)
_NOTE = "Personal contact data is left out."
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
# What a reader would not see, or what turns text around.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def as_text(shown: dict[str, Any], now: float) -> str:
    """What `case_show` gives, as plain text."""
    title, sections = _document(shown, now)
    lines = [title, "=" * len(title)]
    for heading, columns, rows in sections:
        lines += ["", heading, "-" * len(heading)]
        for row in rows:
            if columns:
                first, *rest = row
                lines.append(f"* {first}  " + "  ".join(cell for cell in rest[:-1] if cell))
                lines += [f"    {line}" for line in rest[-1].splitlines()]
            else:
                lines += _hanging(f"{row[0]}: ", row[1])
    return "\n".join(line.rstrip() for line in lines) + "\n"


def as_html(shown: dict[str, Any], now: float) -> str:
    """What `case_show` gives, as one page of HTML that needs nothing else."""
    title, sections = _document(shown, now)
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    for heading, columns, rows in sections:
        parts.append(f"<h2>{html.escape(heading)}</h2><table>")
        if columns:
            parts.append("<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in columns) + "</tr>")
        for row in rows:
            lead = "td" if columns else "th"
            first, *rest = (html.escape(cell) for cell in row)
            parts.append(f"<tr><{lead}>{first}</{lead}>" + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>")
        parts.append("</table>")
    return "\n".join(parts) + "\n</body></html>\n"


def as_json(shown: dict[str, Any], now: float) -> dict[str, Any]:
    """What `case_show` gives, for programs, without what leads to originals."""
    kept = {name: value for name, value in shown.items() if name not in ("papers", "letters", "next", "parties")}
    history = [
        {**event, "data": {name: value for name, value in event["data"].items() if name != "original"}}
        for event in shown["history"]
    ]
    clean: dict[str, Any] = _redacted(kept | {"history": history})
    return clean | {"written": now, "note": _NOTE}


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return _visible(redact(value))
    if isinstance(value, dict):
        # Ids are made by us, of letters and digits that could be taken for a number to call.
        return {name: item if name == "id" else _redacted(item) for name, item in value.items()}
    return [_redacted(item) for item in value] if isinstance(value, list | tuple) else value


def _document(shown: dict[str, Any], now: float) -> tuple[str, list[Section]]:
    facts = [
        ("state", f"{shown['state']}, stage {shown['stage']}" + (", overdue" if shown["overdue"] else "")),
        ("owner", shown["owner"]),
        ("pool", shown["pool"]),
        ("first sign", day(shown["began"])),
        ("opened", day(shown["opened"]) + (f", opened again {shown['reopened']} times" if shown["reopened"] else "")),
        ("finding", f"{shown['finding']}: {CAUSES.get(shown['cause'], shown['cause'])}" if shown["finding"] else ""),
        ("accounts", ", ".join(shown["accounts"])),
        ("contained", day(shown["contained"])),
        ("removed", day(shown["removed"])),
        ("closed", day(shown["closed"])),
        ("summary", shown["summary"]),
    ]
    subjects = [
        (
            named(s["subject"]),
            s["source"],
            told_state(s["kind"], s["state"]),
            day(s["since"]),
            day(s["clean_since"]),
            f"{s['codes']} {s['reason']}".strip(),
        )
        for s in (_whole(s) for s in shown["subjects"])
    ]
    items = [
        (f"{c['stage']}: {c['asks']}", c["state"], c["by"], day(c["time"]), c["evidence"]) for c in shown["checklist"]
    ]
    history = [(day(e["time"]), e["what"], e["by"], e["text"]) for e in shown["history"]]
    sections: list[Section] = [
        ("The case", (), [row for row in facts if row[1]]),
        ("Listings and refusals", ("what", "where", "state", "since", "clean since", "says"), list(subjects)),
        ("Checklist", ("item", "state", "by", "when", "evidence"), list(items)),
        ("History", ("when", "what", "by", "text"), list(history)),
        ("This document", (), [("written", day(now)), ("note", _NOTE)]),
    ]
    clean: list[Section] = [(heading, columns, [_clean(row) for row in rows]) for heading, columns, rows in sections]
    return _visible(redact(f"Case {shown['id']}: {shown['title']}")), clean


def _whole(subject: dict[str, Any]) -> dict[str, Any]:
    """A subject with the fields that are left out where they are empty."""
    texts = dict.fromkeys(("source", "codes", "reason"), "")
    return texts | {"kind": "list", "state": "listed", "since": 0.0, "clean_since": 0.0} | subject


def _clean(row: Iterable[str]) -> tuple[str, ...]:
    return tuple(_visible(redact(cell)) for cell in row)


def _visible(text: str) -> str:
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in _UNSEEN else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _hanging(lead: str, text: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [lead + first, *(f"    {line}" for line in rest)]
