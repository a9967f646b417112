"""SPF (RFC 7208): whether a domain lets an address send mail in its name. Asked about our own domains and addresses.

The mechanism `ptr` never matches here (RFC 7208 5.5 advises against it).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable

from outbound_guard.dns import NoAnswer

Ask = Callable[[str, str], Awaitable[tuple[str, ...]]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOKUPS, _VOID, _NAMES = 10, 2, 10
"""RFC 7208 4.6.4: terms that ask the DNS, those that find nothing, and names of one `mx`."""
_QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_TERM = re.compile(r"([+?~-]?)([a-z0-9]+)(?::([^\s/]+))?((?:/\d{1,3})?(?://\d{1,3})?)", re.I)
_IP = re.compile(r"([+?~-]?)(ip4|ip6):(\S+)", re.I)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(\S*)", re.I)
_MACRO = re.compile(r"%(?:\{([slodiphcrtv])(\d*)(r?)([.+,/_=-]*)\}|([%_-]))", re.I)


class _Broken(Exception):  # noqa: N818 -- A result of the evaluation, no fault of ours.
    """The record, or the DNS, gives no result: permerror or temperror."""

    def __init__(self, result: str, why: str) -> None:
        super().__init__(why)
        self.result = result


async def check_host(ask: Ask, address: str, domain: str, helo: str = "") -> tuple[str, str]:
    """The result for mail of `domain` from `address`, and what decided it: the term, or what is wrong.

    none | neutral | pass | fail | softfail | temperror | permerror (RFC 7208 2.6). `ask(name, type)` asks the DNS and
    may raise NoAnswer.
    """
    try:
        return await _Check(ask, ipaddress.ip_address(address), helo or domain).of(domain)
    except _Broken as broken:
        return broken.result, str(broken)


class _Check:
    """One evaluation, with what is left of its lookups."""

    def __init__(self, ask: Ask, address: Address, helo: str) -> None:
        self._ask_dns, self._address, self._helo = ask, address, helo
        self._lookups = self._void = 0

    async def of(self, domain: str) -> tuple[str, str]:
        texts = await self._ask(domain, "TXT")
        records = [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]
        if not records:
            return "none", "there is no SPF record"
        if len(records) > 1:
            raise _Broken("permerror", f"{domain} has {len(records)} SPF records")
        redirect = ""
        for term in records[0].split()[1:]:
            if modifier := _MODIFIER.fullmatch(term):
                if modifier[1].lower() == "redirect":
                    redirect = modifier[2]
            elif found := await self._mechanism(term, domain):
                return found, term
        if redirect:
            self._count()
            result, why = await self.of(self._expanded(redirect, domain))
            if result == "none":
                raise _Broken("permerror", f"redirect={redirect} leads to no record")
            return result, why
        return "neutral", "no term fits"

    async def _mechanism(self, term: str, domain: str) -> str:
        """The result if the term matches, else an empty text."""
        if literal := _IP.fullmatch(term):
            return _QUALIFIERS[literal[1] or "+"] if self._address in _network(literal[2], literal[3]) else ""
        parts = _TERM.fullmatch(term)
        if not parts:
            raise _Broken("permerror", f"{term!r} is no term")
        qualifier, name, spec, lengths = parts[1] or "+", parts[2].lower(), parts[3] or "", parts[4]
        if name == "all":
            return _QUALIFIERS[qualifier]
        if name not in ("a", "mx", "include", "exists", "ptr"):
            raise _Broken("permerror", f"{term!r} is no mechanism")
        self._count()
        target = self._expanded(spec, domain) if spec else domain
        if name in ("include", "exists") and not spec:
            raise _Broken("permerror", f"{term!r} names no domain")
        if name == "include":
            result, why = await self.of(target)
            if result == "none":
                raise _Broken("permerror", f"{term}: {why}")
            matches = result == "pass"
        elif name == "exists":
            matches = bool(await self._found(target, "A"))
        elif name == "ptr":
            matches = False
        else:
            matches = await self._points_here(name, target, lengths)
        return _QUALIFIERS[qualifier] if matches else ""

    async def _points_here(self, name: str, target: str, lengths: str) -> bool:
        """`a` and `mx`: whether one of the addresses of a name, or of its mail servers, is ours."""
        names = [target]
        if name == "mx":
            found = await self._found(target, "MX")
            names = [record.split()[-1].rstrip(".") for record in found]
            if len(names) > _NAMES:
                raise _Broken("permerror", f"{target} has {len(names)} mail servers")
        length4, _, length6 = (
            lengths.removeprefix("/").partition("//") if lengths[:2] != "//" else ("", "", lengths[2:])
        )
        four = self._address.version == 4
        length = int((length4 if four else length6) or self._address.max_prefixlen)
        if length > self._address.max_prefixlen:
            raise _Broken("permerror", f"/{length} is too long")
        for host in names:
            for address in await self._found(host, "A" if four else "AAAA"):
                if self._address in ipaddress.ip_network(f"{address}/{length}", strict=False):
                    return True
        return False

    async def _found(self, name: str, kind: str) -> tuple[str, ...]:
        found = await self._ask(name, kind)
        if not found:
            self._void += 1
            if self._void > _VOID:
                raise _Broken("permerror", f"more than {_VOID} terms lead nowhere")
        return found

    async def _ask(self, name: str, kind: str) -> tuple[str, ...]:
        try:
            return await self._ask_dns(name, kind)
        except NoAnswer as no_answer:
            raise _Broken("temperror", f"{name} {kind}: {no_answer}") from no_answer

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > _LOOKUPS:
            raise _Broken("permerror", f"more than {_LOOKUPS} lookups")

    def _expanded(self, spec: str, domain: str) -> str:
        """A domain with its macros put in (RFC 7208 7); the sender is postmaster."""
        ip = self._address
        nibbles = ".".join(ip.exploded.replace(":", "")) if ip.version == 6 else str(ip)
        values = {
            "s": f"postmaster@{domain}",
            "l": "postmaster",
            "o": domain,
            "d": domain,
            "i": nibbles,
            "p": "unknown",
            "v": "in-addr" if ip.version == 4 else "ip6",
            "h": self._helo,
        }

        def put_in(found: re.Match[str]) -> str:
            if found[5]:
                return {"%": "%", "_": " ", "-": "%20"}[found[5]]
            value = values.get(found[1].lower())
            if value is None:
                raise _Broken("permerror", f"{found[0]} may not stand there")
            parts = re.split(f"[{re.escape(found[4] or '.')}]", value)
            if found[3]:
                parts.reverse()
            return ".".join(parts[-int(found[2]) :] if found[2] and int(found[2]) else parts)

        if "%" in _MACRO.sub("", spec):
            raise _Broken("permerror", f"{spec!r} has a macro that does not exist")
        name = _MACRO.sub(put_in, spec).rstrip(".")
        while len(name) > 253 and "." in name:
            name = name.partition(".")[2]
        return name


def _network(kind: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or network.version != int(kind[-1]):
        raise _Broken("permerror", f"{text!r} is no network for {kind}")
    return network
