""" "We are blocked": from a pasted bounce, log excerpt, address or domain to a finding.

Which list or receiver it is, on whose side the cause lies, what to do next, and what to tell the customer.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from outbound_guard.blocklist.channels import Channel, Channels
from outbound_guard.blocklist.channels import as_json as channel_json
from outbound_guard.delivery import answers
from outbound_guard.delivery.answers import Meaning, Side, meaning_of
from outbound_guard.desk.blocked.letters import letter
from outbound_guard.desk.blocked.pasted import Pasted, answers_in
from outbound_guard.desk.redaction.redact import redact
from outbound_guard.reply import Reply

Row = dict[str, Any]
"""What a list says: subject, zone, state, codes, reason, scope, weight."""


class Finding(msgspec.Struct, frozen=True):
    """What is wrong, as far as can be told; `next` is one or two sentences."""

    class_: str
    provider: str | None
    list: str | None
    """The list's zone, or its name if it has none."""
    side: Side
    address: str | None
    """What is refused: our address or a domain; of a mailbox that cannot take mail, its address."""
    next: str
    answer: str = ""
    """What the other server said, redacted."""
    rule: str = ""
    certain: bool = True
    """False if no rule knows the answer."""
    channel: Channel | None = None
    customer: str = ""
    """Text for the customer."""
    listings: tuple[Row, ...] = ()
    """What is known of the address or domain on lists."""


_IP = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|"
    r"(?:ipv6:)?[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})(?![\w:]|\.\d)",
    re.I,
)
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,24}|xn--[a-z0-9-]{2,59})", re.I)
_RANK = (
    "our_address_blocked",
    "content",
    "policy_auth",
    "tls",
    "dns",
    "rate",
    "mailbox_full",
    "unknown_user",
    "greylisting",
)
"""If a paste has several answers, the one that is the most worth looking into is told about."""


_ASKABLE = ("our_address_blocked", "content", "rate", "policy_auth")
"""Classes that a receiver's or operator's official channel can help with."""


def subject_in(text: str) -> str | None:
    """The address or domain that is all of a paste; None if it is something else."""
    text = text.strip().strip("<>[]").rstrip(".")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    domain = text.rpartition("@")[2] if re.fullmatch(r"[^\s@]{1,64}@[^\s@]{1,255}", text) else text
    try:
        domain = domain.lower().encode("idna").decode() if domain and not domain.isascii() else domain.lower()
    except UnicodeError:
        return None
    return domain if _DOMAIN.fullmatch(domain) else None


def blocked(
    text: str,
    channels: Channels,
    *,
    own: Collection[str] = (),
    known: Callable[[str], Sequence[Row]] = lambda subject: (),
) -> Finding:
    """The finding for a paste. `own` are our addresses and domains as far as they are known; `known` tells what lists
    say of an address or domain, and may raise what it likes.
    """
    subject = subject_in(text)
    if subject is not None:
        return _of_subject(subject, channels, own, known(subject))
    found = answers_in(text)
    if not found:
        return _unknown("there is no answer of a server in it: paste the whole bounce or the log line")
    meanings = [(_meaning(pasted), pasted) for pasted in found if not pasted.reply.accepted]
    if not meanings:
        return _unknown("these answers refuse nothing: paste the one that did")
    meaning, pasted = min(meanings, key=lambda one: _rank(*one))
    return _of_answer(meaning, pasted, channels, own, known)


def _rank(meaning: Meaning, pasted: Pasted) -> tuple[int, bool]:
    at = _RANK.index(meaning.coarse) if meaning.coarse in _RANK else len(_RANK) + (not meaning.rule)
    return at, pasted.reply.temporary


def _meaning(pasted: Pasted) -> Meaning:
    meaning = meaning_of(pasted.reply)
    if meaning.provider is None:
        # The answer does not say whose it is; the server's name and the recipient's domain may.
        domain = pasted.recipient.rpartition("@")[2]
        meaning = msgspec.structs.replace(meaning, provider=answers.packaged().provider(f"{pasted.host} {domain}"))
    return meaning


def _of_answer(
    meaning: Meaning,
    pasted: Pasted,
    channels: Channels,
    own: Collection[str],
    known: Callable[[str], Sequence[Row]],
) -> Finding:
    said = pasted.reply.text
    address = _address(meaning, pasted, own)
    of_list, zone = (None, "")
    if meaning.coarse in ("our_address_blocked", "content"):
        of_list, zone = channels.list_in(said)
        if not zone and meaning.coarse == "our_address_blocked" and (of_list := channels.filter_in(said)):
            zone = of_list.name
    channel = of_list or channels.of_provider(meaning.provider, said)
    if channel is None:
        channel = channels.of_domain(pasted.recipient.rpartition("@")[2])
    side: Side = meaning.side
    if of_list is not None and of_list.ended:
        side = "receiver"
    ours = _is_ours(address, own)
    if meaning.coarse == "our_address_blocked" and address and own and not ours:
        side = "customer"
    subject = address or ""
    steps = [meaning.advice or "Look at the answer: no rule knows it."]
    if side == "customer" and meaning.coarse == "our_address_blocked":
        steps = [f"{address} is none of our addresses: find out which server it is, and why mail leaves from there."]
    elif of_list is not None and of_list.ended:
        steps = [of_list.next_step]
    elif side != "receiver" and channel is not None and channel.page(subject) and meaning.coarse in _ASKABLE:
        steps.append(f"The official channel is {channel.page(subject)} ({channel.name}).")
    return Finding(
        class_=meaning.class_,
        provider=meaning.provider,
        list=zone or None,
        side=side,
        address=address,
        next=" ".join(steps),
        answer=redact(str(pasted.reply))[:1000],
        rule=meaning.rule,
        certain=bool(meaning.rule),
        channel=channel,
        customer=letter(meaning.coarse, side, meaning.provider or (pasted.host or "the receiver")),
        listings=tuple(known(address)) if address and "@" not in address else (),
    )


def _address(meaning: Meaning, pasted: Pasted, own: Collection[str]) -> str | None:
    """What is refused: our address in what was said, not that of the server that said it."""
    found = [one for one in map(_usual, _IP.findall(pasted.reply.text)) if one and one != _usual(pasted.peer)]
    for one in found:
        if one in own:
            return one
    if found and meaning.coarse in ("our_address_blocked", "rate", "dns", "content", "policy_auth", "greylisting"):
        return found[0]
    if meaning.side == "recipient":
        return pasted.recipient or None
    if meaning.class_.startswith(("content.domain", "policy_auth.d", "policy_auth.s", "dns.sender")):
        text = pasted.reply.text
        domain = re.search(
            r"(?:domain|from|sender|for|address) [\[<(]?(?:[^\s@<\[]{1,64}@)?(" + _DOMAIN.pattern + r")", text, re.I
        )
        return domain[1].lower() if domain else None
    return None


def _usual(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.lower().removeprefix("ipv6:")))
    except ValueError:
        return None


def _is_ours(address: str | None, own: Collection[str]) -> bool:
    return bool(address) and address in own


def _of_subject(subject: str, channels: Channels, own: Collection[str], rows: Sequence[Row]) -> Finding:
    """What the lists say of an address or domain."""
    is_ip = _usual(subject) is not None
    listed = sorted((row for row in rows if row["state"] == "listed"), key=lambda row: -row.get("weight", 0.0))
    side: Side = "provider" if subject in own or (is_ip and not own) else "customer"
    if not listed:
        asked = sum(row["state"] == "clean" for row in rows)
        of_domain = None if is_ip else channels.of_domain(subject)
        if of_domain is not None:
            page = of_domain.page()
            step = (
                f"{subject} is a domain of {of_domain.name}, whose official channel is {page}; "
                f"paste a refusal of theirs to know more."
            )
        elif rows:
            step = (
                f"{subject} is on none of {asked} lists that answered; paste the bounce to know who refuses it and why."
            )
        else:
            step = f"Nothing is known of {subject}: ask the lists with --ask, or paste the bounce."
        return Finding(
            "other", of_domain.provider or None if of_domain else None, None, "receiver", subject, step,
            certain=bool(rows), channel=of_domain, listings=tuple(rows),
        )  # fmt: skip
    first = listed[0]
    channel = channels.of_zone(first["zone"])
    steps = [f"{subject} is on {first['zone']}" + (f" ({first['reason']})" if first.get("reason") else "") + "."]
    if len(listed) > 1:
        steps.append(f"Also on {', '.join(row['zone'] for row in listed[1:6])}.")
    if first.get("scope", "address") != "address":
        steps.append("The listing is about a whole range: ask for an exception, and who else is in it.")
    steps.append("Find and stop the cause first; asking before leads to a longer listing.")
    if channel is not None and channel.page(subject):
        steps.append(f"Then ask at {channel.page(subject)} ({channel.name}).")
    class_ = "our_address_blocked.list" if is_ip else "content.domain"
    return Finding(
        class_, None, first["zone"], side, subject, " ".join(steps),
        rule="listing", channel=channel, listings=tuple(rows),
        customer=letter(class_.partition(".")[0], side, channel.name if channel else first["zone"]),
    )  # fmt: skip


def _unknown(why: str) -> Finding:
    return Finding("other", None, None, "receiver", None, f"Nothing can be said: {why}.", certain=False)


def as_json(finding: Finding) -> dict[str, Any]:
    """A finding for programs; the first six fields are those that others rely on."""
    return {
        "class": finding.class_,
        "provider": finding.provider,
        "list": finding.list,
        "side": finding.side,
        "address": finding.address,
        "next": finding.next,
        "certain": finding.certain,
        "rule": finding.rule,
        "answer": finding.answer,
        "customer": finding.customer,
        "channel": channel_json(finding.channel, finding.address or "") if finding.channel else None,
        "listings": list(finding.listings),
    }


def reply_of(text: str) -> Reply | None:
    """The answer that blocked() would tell about, for tests and cases; None if there is none."""
    found = [one for one in answers_in(text) if not one.reply.accepted]
    return min(found, key=lambda one: _rank(_meaning(one), one)).reply if found else None
