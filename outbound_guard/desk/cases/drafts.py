"""Drafts of the letters of a case. Nothing is sent: a person reads them, changes them, and sends them.

The texts lie in `texts/LANGUAGE/NAME.txt`; the folder `cases.texts` goes before the packaged ones, so a language is
added by adding a folder. Their first line is the subject; a paragraph is one line, wrapped when it is written. `$name`
stands for a value, and a line without a value for one of its names is left out. Letters to operators name no customer.
"""

from __future__ import annotations

import re
import socket
import textwrap
from importlib import resources
from pathlib import Path
from string import Template

import msgspec

from outbound_guard.config import Config
from outbound_guard.desk.cases.channels import Way, way
from outbound_guard.desk.cases.opening import named
from outbound_guard.desk.cases.stages import CAUSED, CAUSES, DONE, FALSE, FILING, need_ready_to_file, stage_of
from outbound_guard.desk.cases.words import day, said
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger.case_queries import Case, Event

TO_CUSTOMER = ("notice", "apology", "update", "advice")
KINDS = TO_CUSTOMER + FILING

_UNTIL = (
    "Until then some receivers may refuse mail or let it wait; it is tried again by itself for some days. We will "
    "write again as soon as there is something new, and in three days at the latest."
)
_ASSURANCE = "No more of this mail has left since, as far as we can see."
_ADVISED = ("password", "script", "malware", "vpn", "bulk")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})?")
_NAME = re.compile(r"\$\{?([a-z_]+)")


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A letter that nobody has sent."""

    kind: str
    to: str
    """customer:ACCOUNT, list:ZONE or receiver:NAME; how to log it afterwards."""
    subject: str
    body: str
    way: Way | None = None
    """Of a letter to an operator: its official channel."""


def drafts(
    case: Case, history: list[Event], config: Config, kind: str, *, name: str = "", language: str = ""
) -> list[Draft]:
    """A letter of a kind (KINDS) to each customer or operator concerned, or to `name` alone.

    Raises DeskError for what may not be filed yet, if there is nobody to write to, and for a text that cannot be used.
    """
    if kind not in KINDS:
        raise DeskError(f"no letter {kind!r}; there are {', '.join(KINDS)}")
    if kind in FILING:
        need_ready_to_file(case)
        return _to_operators(case, history, config, kind, name)
    accounts = case.accounts
    if kind == "apology":
        # Whoever is to blame is owed none.
        accounts = tuple(case.checks["apology"].data.get("owed", ())) if "apology" in case.checks else ()
    accounts = (name,) if name else accounts
    if not accounts:
        raise DeskError(f"{case.id} names no account for this: say which customer is meant")
    language = language or config.cases.language
    if not _LANGUAGE.fullmatch(language):
        raise DeskError(f'"{language}" is no language; expected one like "en"')
    values = _values(case, config) | {
        "what": case.title,
        "state": _state(case),
        "doing": stage_of(case).doing,
        "until": _UNTIL if case.listed else "",
        "brought": "has brought" if case.finding == CAUSED else "seems to have brought",
        "advice": _text(config, language, f"advice/{case.cause if case.cause in _ADVISED else 'other'}"),
    }
    template = _text(config, language, kind)
    return [_draft(kind, f"customer:{account}", template, values | {"account": account}) for account in accounts]


def _to_operators(case: Case, history: list[Event], config: Config, kind: str, name: str) -> list[Draft]:
    sources = sorted({(s.kind, s.source) for s in case.listed if s.source and name in ("", s.source)})
    if not sources:
        raise DeskError(f"{name or 'nobody'} has {case.id}'s addresses on a list, or refuses them, any more")
    template = _text(config, "en", kind)
    filed = {e.data["with"]: e.time for e in history if e.what == "contact" and e.data.get("about") == "appeal"}
    found = []
    for subject_kind, source in sources:
        to = f"{'receiver' if subject_kind == 'receiver' else 'list'}:{source}"
        if kind == "escalation" and to not in filed:
            raise DeskError(f"nothing was filed with {to} yet: write an appeal first, and log it when it is sent")
        of_it = [s for s in case.listed if s.source == source]
        subjects = [s.subject if s.subject != "receiver" else config.server.hostname or socket.getfqdn() for s in of_it]
        channel = way(config, of_it[0])
        refused = subject_kind == "receiver"
        verb = "refused by you" if refused else f"listed on {source}"
        reasons = "; ".join(dict.fromkeys(" ".join(s.reason.split()) for s in of_it if s.reason))
        codes = ", ".join(sorted({s.codes for s in of_it if s.codes}))
        listed = f"{verb} since {day(min(s.since for s in of_it))}" + (f" ({codes})" if codes else "")
        values = _values(case, config) | {
            "subject": ", ".join(subjects),
            "operator": channel.name.partition(" (")[0],
            "listed": listed,
            "request": "Request for review" if refused else "Removal request",
            "says": f"Your {'servers answer' if refused else 'listing says'}: {reasons}" if reasons else "",
            "wish": "accept its mail again" if refused else "remove it",
            "assurance": "" if case.finding == FALSE else _ASSURANCE,
            "evidence": _evidence(case),
            "prevented": _nameless(case, _done(case, "ours_to_do")),
            "filed": day(filed.get(to, 0.0)),
        }
        draft = _draft(kind, to, template, values)
        found.append(msgspec.structs.replace(draft, way=channel))
    return found


def _draft(kind: str, to: str, template: str, values: dict[str, str]) -> Draft:
    lines = []
    for line in template.splitlines():
        names = _NAME.findall(line)
        if unknown := [name for name in names if name not in values]:
            raise DeskError(f"the text of {kind} names {', '.join(unknown)}, of which nothing is known")
        if all(values[name] for name in names):
            lines += Template(line).substitute(values).rstrip().splitlines() or [""]
    head, *body = lines
    text = "\n".join(part for line in body for part in _wrapped(line)).strip()
    # Where a paragraph was left out there is one empty line, not two.
    text = re.sub(r"\n{3,}", "\n\n", text)
    return Draft(kind=kind, to=to, subject=head.partition(":")[2].strip(), body=f"{text}\n")


def _wrapped(line: str) -> list[str]:
    indent = "  " if line.startswith("- ") else ""
    return textwrap.wrap(line, 76, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def _values(case: Case, config: Config) -> dict[str, str]:
    hostname = config.server.hostname or socket.getfqdn()
    return {
        "case": case.id,
        "cause": CAUSES.get(case.cause, "") if case.cause != "unknown" else "",
        "contained": _contained(case),
        "organisation": config.cases.organisation or hostname,
        "contact": config.cases.contact,
        "hostname": hostname,
    }


def _state(case: Case) -> str:
    if not case.listed:
        return f"nobody lists or refuses our addresses because of it any more, since {day(case.removed)}."
    return "\n".join(
        f"- {s.source} still refuses {named(s.subject)}" if s.kind == "receiver" else f"- {s.subject} is on {s.source}"
        for s in case.listed
    )


def _evidence(case: Case) -> str:
    cause = case.checks.get("cause")
    return f"What we found: {_nameless(case, cause.evidence)}" if cause and cause.evidence else ""


def _contained(case: Case) -> str:
    check = case.checks.get("contained")
    told = check.data.get("told", "") if check else ""
    return str(told) or _nameless(case, _done(case, "contained"))


def _done(case: Case, item: str) -> str:
    check = case.checks.get(item)
    return check.evidence if check and check.state == DONE else ""


def _nameless(case: Case, text: str) -> str:
    """The text without customers' names: whose they are is no operator's business."""
    suspects = case.checks["traffic"].data.get("suspects", []) if "traffic" in case.checks else []
    for account in sorted({*case.accounts, *suspects}, key=len, reverse=True):
        text = re.sub(
            rf"(?:account|sender) {re.escape(account)}(?![\w-])|[\w.+-]*@?{re.escape(account)}(?![\w-])",
            "a customer",
            text,
        )
    return " ".join(said(text).split())


def _text(config: Config, language: str, name: str) -> str:
    """A text, in the language or else in English, one's own or else the packaged one. Raises DeskError."""
    packaged = resources.files("outbound_guard.desk.cases") / "texts"
    for folder in dict.fromkeys((language, "en")):
        if config.cases.texts:
            own = config.resolve(config.cases.texts) / folder / f"{name}.txt"
            if own.is_file():
                return _read(own)
        file = packaged / folder / f"{name}.txt"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise DeskError(f"there is no text {name}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeskError(f"{path} cannot be read: {error}") from error
