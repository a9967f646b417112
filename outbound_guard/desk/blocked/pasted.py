"""Answers in what people paste: whole bounces, the text of one, log lines of Exim and Postfix, a single line."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import Message

import msgspec

from outbound_guard.delivery.lines import reply_in
from outbound_guard.reply import Reply

LONGEST = 1_000_000
"""Characters of a paste that are looked at."""
_MOST = 200
"""Answers of one paste."""
_CONTINUED = 12
"""Lines that an answer may have."""


class Pasted(msgspec.Struct, frozen=True):
    """One answer, and what stands beside it."""

    reply: Reply
    """Its text is what the other server said, without what a log puts in front of it."""
    recipient: str = ""
    host: str = ""
    """The server that said it."""
    peer: str = ""
    """That server's IP address."""


_POSTFIX = re.compile(
    r"to=<(?P<to>[^>\s]{1,320})>.{0,400}?relay=(?P<host>[^\[,\s]{1,255})(?:\[(?P<ip>[0-9a-fA-F:.]{2,45})\])?.{0,300}?"
    r"status=(?:bounced|deferred|undeliverable|expired) \((?P<said>.{1,3000})\)\s*$"
)
_EXIM = re.compile(
    r"(?:\*\*|==) (?P<to>\S{1,100}@\S{1,255}).{0,500}?(?:H=|host )(?P<host>[^\s\[]{1,255}) "
    r"\[(?P<ip>[0-9a-fA-F:.]{2,45})\].{0,300}?: "
    r"(?P<said>[245]\d\d[ -].{1,3000})$"
)
_EXIM_OTHER = re.compile(
    r"(?:\*\*|==) (?P<to>\S{1,100}@\S{1,255})(?: <[^>]*>)?(?: [RTF]=\S+)*(?: "
    r"defer \([^)]{0,40}\))?:? (?P<said>.{4,3000})$"
)
_HOST_SAID = re.compile(
    r"host (?P<host>[^\s\[]{1,255})\s?\[(?P<ip>[0-9a-fA-F:.]{2,45})\](?::\d+)?:?\s{0,3}"
    r"(?:(?:said|refused to talk to me):\s{0,9}(?P<said>.{1,3000})|(?P<told>[245]\d\d[ -].{1,3000}))",
    re.S,
)
_SAID = re.compile(
    r"(?:said|response was|server returned|responded with|error was|rejected with|answered|talk to me|"
    r"smtp error|reason|remote server)"
    r"[^\n:]{0,80}?:?\s{0,9}['\"«(]?\s{0,9}(?P<said>[245]\d\d[- ].{1,3000})",
    re.S | re.I,
)
_ANSWER = re.compile(
    r"^[\s>|*'\"(\[]{0,20}(?:smtp;\s*)?(?P<said>(?:[245]\d\d[ "
    r"-](?=[^\n]{0,2000}[A-Za-z<\[])|#?[245]\.\d{1,3}\.\d{1,3}[ ])[^\n]{2,3000})$",
    re.M,
)
_ORIGINAL = re.compile(
    r"(?im)^(?:[-=_* ]{2,40}[^\n]{0,60}\b(?:original message|copy of|returned|unsent|message headers?|"
    r"header of)\b[^\n]{0,60}"
    r"|original message follows[^\n]*|(?:received|return-path|message-id|x-mailer|mime-version): [^\n]*)$"
)
_NOT_SAID = re.compile(
    r"(?i)(?:x-[\w-]+|authentication-results|received[\w-]*|dkim-signature|"
    r"arrival-date|final-recipient|subject|date|to|from):"
)
_FIELD = re.compile(r"^(?P<name>[A-Za-z-]{3,40}):[ \t]*(?P<value>.*(?:\n[ \t]+\S.*){0,20})", re.M)
_RECIPIENT = re.compile(r"<(?P<to>[^<>\s@]{1,64}@[^<>\s@]{1,255})>")


def answers_in(text: str) -> list[Pasted]:
    """All answers that can be found in a paste, in their order. An empty list: none. Never raises."""
    text = text[:LONGEST].replace("\r\n", "\n").replace("\r", "\n")
    reported = _of_reports(text) or _of_fields(text)
    if not any(one.reply.text for one in reported):
        # A report that has only a number, or none: what it says to people says more.
        reported = [*(_of_logs(text) or _of_prose(_readable(text))), *reported]
    return reported[:_MOST]


def _of_reports(text: str) -> list[Pasted]:
    """The blocks of a delivery report (RFC 3464 2.3)."""
    if "delivery-status" not in text:
        return []
    found = []
    for part in _parts(text):
        if part.get_content_type() in ("message/delivery-status", "message/global-delivery-status"):
            payload = part.get_payload()
            for block in payload if isinstance(payload, list) else ():
                if not isinstance(block, Message):
                    continue
                found += _of_fields("".join(f"{name}: {value}\n" for name, value in block.items()))
    return found


def _of_fields(text: str) -> list[Pasted]:
    """The fields of delivery reports, wherever they stand; each Diagnostic-Code, else each Status, is an answer."""
    found: list[Pasted] = []
    recipient, host, status = "", "", ""
    for field in _FIELD.finditer(text):
        name, value = field["name"].lower(), " ".join(field["value"].split())
        if name in ("final-recipient", "original-recipient"):
            if name == "final-recipient" and status:
                found.append(_pasted(f"{status[0]}50 {status}", recipient, host))
                status = ""
            recipient = value.rpartition(";")[2].strip(" <>")
        elif name == "remote-mta":
            host = value.rpartition(";")[2].strip()
            found = [*found[:-1], msgspec.structs.replace(found[-1], host=host)] if found and not status else found
        elif name == "status" and (code := re.match(r"[245]\.\d{1,3}\.\d{1,3}", value)):
            status = code[0]
        elif name == "diagnostic-code":
            said = re.sub(r"^\s*[\w-]{1,30}\s*;\s*", "", value)
            found.append(_pasted(said, recipient, host, status))
            status = ""
    if status and not status.startswith("2"):
        found.append(_pasted(f"{status[0]}50 {status}", recipient, host))
    return found


def _of_logs(text: str) -> list[Pasted]:
    found = []
    for line in text.split("\n"):
        line = line[:6000]
        if (log := _POSTFIX.search(line)) or (log := _EXIM.search(line)):
            said, host, ip = log["said"], log["host"], log["ip"] or ""
            if inner := _HOST_SAID.search(said):
                said, host, ip = inner["said"] or inner["told"], inner["host"], inner["ip"]
            found.append(_pasted(re.sub(r" \(in reply to [^()]{1,40}\)\s*$", "", said), log["to"], host, peer=ip))
        elif log := _EXIM_OTHER.search(line):
            found.append(_pasted(log["said"], log["to"]))
    return found


def _of_prose(text: str) -> list[Pasted]:
    """A bounce as people read it: the line that begins with a code, and what is continued below it."""
    named = _RECIPIENT.search(text)
    recipient = named["to"] if named else ""
    found: list[Pasted] = []
    seen: set[str] = set()
    for pattern in (_HOST_SAID, _ANSWER, _SAID):
        for answer in pattern.finditer(text):
            groups = answer.groupdict()
            place = answer.start("said" if groups["said"] else "told")
            said = _whole(text[place : place + 3000])
            key = re.sub(r"\W", "", said)[:60]
            if key not in seen and len(found) < _MOST:
                seen.add(key)
                found.append(_pasted(said, recipient, groups.get("host") or "", peer=groups.get("ip") or ""))
    if found:
        return found
    # No code at all: each line for itself, and all of it.
    lines = [line.strip(" \t>|*") for line in text.split("\n")]
    whole = " ".join(" ".join(lines).split())[:1000]
    return [
        _pasted(line, recipient)
        for line in [*(line for line in lines if len(line) > 8 and not _NOT_SAID.match(line)), whole]
        if line
    ][:_MOST]


def _whole(said: str) -> str:
    """An answer with its continued lines, up to a blank one or the beginning of something else."""
    lines = said.split("\n")
    kept = [lines[0]]
    for line in lines[1:_CONTINUED]:
        bare = line.strip(" \t>|")
        if not bare or re.match(r"[A-Z][A-Za-z-]{2,30}: |--|[-=_*]{4,}|<?[^\s<>]{1,64}@\S+>?:?$", bare):
            break
        kept.append(bare)
    return " ".join(kept).strip(" '\"")


def _readable(text: str) -> str:
    """The text parts of a pasted message, decoded; else the text as it is."""
    if not re.match(r"\s*(?:From \S|[A-Za-z][A-Za-z-]{1,40}:[ \t])", text):
        return _before_original(text)
    shown = []
    for part in _parts(text):
        if part.get_content_maintype() == "text":
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                body = payload.decode("utf-8", "replace")
                shown.append(re.sub(r"<[^<>@]{1,300}>", " ", body) if part.get_content_subtype() == "html" else body)
    return _before_original("\n\n".join(shown)) or text


def _before_original(text: str) -> str:
    """What a bounce says, without the message that it returns."""
    cut = _ORIGINAL.search(text, 20)
    return text[: cut.start()] if cut else text


def _parts(text: str) -> list[Message]:
    try:
        message = email.message_from_string(text.lstrip("\n"), policy=email.policy.compat32)
        return list(message.walk())[:100]
    except Exception:
        # What people paste can be damaged in ways that the library does not foresee. No mail can be lost here, and
        # nothing is logged, since it may hold personal data: it is read as plain text then.
        return []


def _pasted(said: str, recipient: str = "", host: str = "", status: str = "", peer: str = "") -> Pasted:
    reply = reply_in(said)
    if re.fullmatch(r"[245]50 [245]\.\d{1,3}\.\d{1,3}", said):
        reply = Reply(reply.code, reply.enhanced, "")
    if status and not reply.enhanced:
        reply = Reply(reply.code or int(status[0]) * 100 + 50, status, reply.text)
    return Pasted(reply, recipient, host, peer)
