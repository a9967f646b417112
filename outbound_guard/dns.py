"""The DNS: the IPv4 addresses of a name, with a cache; records of any type, with or without one.

The only user of dnspython.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.resolver
import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import host_port

_SERVER_SECONDS, _LIFETIME = 1.5, 4.0
"""Seconds for one try, and for all of them. An answer that is late for one message serves the next one."""
_SHORTEST, _LONGEST, _LONGEST_WITHOUT = 60, 3600, 300
"""Seconds an answer is kept, whatever its TTL says; the last one: that a name does not exist, which changes sooner."""
_FAILED = 30.0
"""Seconds for which a question that was not answered is not asked again."""

# RFC 1035 4.1: the header of one question that asks for recursion; the end of a question of type A.
_ONE_QUESTION, _END = b"\1\0\0\1\0\0\0\0\0\0", b"\0\0\1\0\1"
_TRUNCATED = 0x02
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
"""Of hosts; underscores are wrong, and occur."""


class NoAnswer(Exception):  # noqa: N818 -- It says that the DNS has no answer for us; no fault of ours.
    """No server has answered in a way that can be used; the text says why."""


class Lookup:
    """Asks for addresses. A name is asked for once at a time, and its answer is kept for as long as its TTL says."""

    def __init__(self, resolvers: Sequence[str], clock: Clock, *, cached: int = 20_000) -> None:
        """`resolvers`: ADDRESS:PORT; empty: the system's. `cached`: names whose answers are kept."""
        self._resolvers, self._clock, self._cached = resolvers, clock, cached
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._asking: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The IPv4 addresses of `name`; none if it does not exist. Raises NoAnswer.

        The caller may stop waiting; the question goes on, and its answer is kept.
        """
        known = self._known.get(name)
        if known and known[0] > self._clock.now():
            return known[1]
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.get_running_loop().create_task(self._ask(name))
            asking.add_done_callback(lambda task: self._answered(name, task))
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Give up what is being asked."""
        for task in (asking := list(self._asking.values())):
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _answered(self, name: str, task: asyncio.Task[tuple[str, ...]]) -> None:
        del self._asking[name]
        if not task.cancelled():
            task.exception()  # Those who waited for it may have gone; it is no news to the event loop.

    async def _ask(self, name: str) -> tuple[str, ...]:
        try:
            if self._resolver is None:
                self._resolver = _resolver(self._resolvers)
            answer = await self._resolver.resolve(name, "A", search=False, raise_on_no_answer=False)
            found = tuple([record.address for record in answer.rrset]) if answer.rrset else ()
            ttl: float = answer.chaining_result.minimum_ttl
        except dns.resolver.NXDOMAIN as none:
            found = ()
            responses: dict[Any, Any] = none.responses()  # type: ignore[no-untyped-call]  # Not annotated there.
            ttl = min([said.resolve_chaining().minimum_ttl for said in responses.values()], default=0)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}"[:200]) from error
        kept = min(max(ttl, _SHORTEST), _LONGEST if found else _LONGEST_WITHOUT)
        self._known.pop(name, None)
        self._known[name] = (self._clock.now() + kept, found)
        if len(self._known) > self._cached:
            del self._known[next(iter(self._known))]  # The one that was asked for the longest time ago.
        return found


class Questions:
    """Asks the DNS what it says now: records of any type, nothing kept. Who asks much keeps its own pace."""

    def __init__(self, resolvers: Sequence[str], *, seconds: float = 4.0, lifetime: float = 10.0) -> None:
        """`resolvers`: ADDRESS:PORT; empty: the system's. `seconds` for one try, `lifetime` for all but the first."""
        self._resolvers, self._seconds, self._lifetime = resolvers, seconds, lifetime
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def ask(self, name: str, kind: str) -> tuple[str, ...]:
        """The records of `name` of type `kind` (A, AAAA, TXT, PTR, MX ...) as texts, sorted; none if there are none.

        Of TXT the strings of a record are joined (RFC 7208 3.3). An answer that was cut short is asked for again by
        TCP. Raises NoAnswer, whose text does not hold the name: it may have a key in it.
        """
        try:
            if self._resolver is None:
                self._resolver = _resolver(self._resolvers)
                self._resolver.timeout, self._resolver.lifetime = self._seconds, self._lifetime
            if kind == "A" and (found := await self._quickly(name, self._resolver)) is not None:
                return found
            answer = await self._resolver.resolve(name, kind, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return ()
        except dns.resolver.LifetimeTimeout as error:
            raise NoAnswer(f"no answer within {self._lifetime:g} s") from error
        except dns.resolver.NoNameservers as error:
            raise NoAnswer(_refusals(error)) from error
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise NoAnswer(type(error).__name__) from error
        if answer.rrset is None:
            return ()
        if kind == "TXT":
            return tuple(sorted([b"".join(record.strings).decode(errors="replace") for record in answer.rrset]))
        return tuple(sorted([record.to_text() for record in answer.rrset]))

    async def _quickly(self, name: str, resolver: dns.asyncresolver.Resolver) -> tuple[str, ...] | None:
        """One try at the first server, by hand; None: ask again, properly.

        Nearly every address asked about is in nearly no list. To see that an answer says so takes a tenth of what it
        takes to make a message of it.
        """
        server = resolver.nameservers[0]
        labels = name.encode("ascii").split(b".")
        if isinstance(server, dns.nameserver.Do53Nameserver):
            place = server.address, server.port
        elif isinstance(server, str):
            place = server, resolver.port
        else:
            return None
        if not all(0 < len(label) < 64 for label in labels) or len(name) > 253:
            return None  # Let dnspython say what is wrong.
        question = b"".join([bytes([len(label)]) + label for label in labels]) + _END
        loop = asyncio.get_running_loop()
        waiting = _Waiting(loop, secrets.token_bytes(2), question)
        transport, _ = await loop.create_datagram_endpoint(lambda: waiting, remote_addr=place)
        try:
            transport.sendto(waiting.id + _ONE_QUESTION + question)
            async with asyncio.timeout(self._seconds):
                data = await waiting.answer
        except (TimeoutError, OSError):
            return None
        finally:
            transport.close()
        code, answers = data[3] & 15, int.from_bytes(data[6:8])
        if data[2] & _TRUNCATED or code not in (0, 3):
            return None
        if code == 3 or not answers:
            return ()
        message = dns.message.from_wire(data)
        if not isinstance(message, dns.message.QueryMessage):
            return None
        found = message.resolve_chaining().answer
        return tuple(sorted([record.to_text() for record in found])) if found else ()


class Found(msgspec.Struct, frozen=True):
    """The answer to one question."""

    records: tuple[str, ...]
    """As texts, sorted; none if there are none. Of TXT the strings of a record are joined (RFC 7208 3.3)."""
    exists: bool = True
    """False if the name itself does not exist."""
    secure: bool = False
    """True if a resolver that we trust says that it has validated the answer (the AD bit, RFC 4035 3.2.3)."""
    name: str = ""
    """The name the records stand at, behind all aliases; without the last dot."""
    until: float = 0.0
    """Unix seconds to which it is kept."""


class Records:
    """Records of any type, kept for as long as their TTL says, within bounds; each is asked for once at a time."""

    def __init__(
        self, resolvers: Sequence[str], clock: Clock, *, validating: bool = False, cached: int = 50_000
    ) -> None:
        """`resolvers`: ADDRESS:PORT; empty: the system's. `validating`: their AD bit can be believed, since they
        validate DNSSEC and nobody is between them and us. `cached`: answers that are kept."""
        self.validating = validating
        self._resolvers, self._clock, self._cached = resolvers, clock, cached
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._known: dict[tuple[str, str], Found | NoAnswer] = {}
        self._failed: dict[tuple[str, str], float] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[Found]] = {}

    async def find(self, name: str, kind: str) -> Found:
        """What there is of type `kind` (MX, A, AAAA, TXT, TLSA) at `name`. Raises NoAnswer, which is kept for a while.

        The caller may stop waiting; the question goes on, and its answer is kept.
        """
        key = (name, kind)
        known, now = self._known.get(key), self._clock.now()
        if isinstance(known, Found) and now < known.until:
            return known
        if isinstance(known, NoAnswer) and 0 <= now - self._failed.get(key, -_FAILED) < _FAILED:
            raise NoAnswer(str(known))
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.get_running_loop().create_task(self._ask(*key))
            asking.add_done_callback(lambda task: self._answered(key, task))
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Give up what is being asked."""
        for task in (asking := list(self._asking.values())):
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _answered(self, key: tuple[str, str], task: asyncio.Task[Found]) -> None:
        del self._asking[key]
        self._known.pop(key, None)
        self._failed.pop(key, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._known[key] = task.result()
        elif isinstance(error, NoAnswer):
            self._known[key], self._failed[key] = error, self._clock.now()
        while len(self._known) > self._cached:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._failed.pop(oldest, None)

    async def _ask(self, name: str, kind: str) -> Found:
        try:
            if self._resolver is None:
                self._resolver = _resolver(self._resolvers)
                self._resolver.lifetime = 2 * _LIFETIME
                if self.validating:
                    # RFC 6840 5.7: AD in a question asks for it in the answer, without the signatures.
                    self._resolver.flags = dns.flags.RD | dns.flags.AD
            answer = await self._resolver.resolve(name, kind, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as none:
            responses: dict[Any, Any] = none.responses()  # type: ignore[no-untyped-call]  # Not annotated there.
            said = list(responses.values())
            ttl = min([response.resolve_chaining().minimum_ttl for response in said], default=0)
            secure = bool(said) and all(self._secure(response) for response in said)
            return Found((), False, secure, name, self._until(ttl, found=False))
        except dns.resolver.LifetimeTimeout as error:
            raise NoAnswer(f"no answer within {2 * _LIFETIME:g} s") from error
        except dns.resolver.NoNameservers as error:
            raise NoAnswer(_refusals(error)) from error
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise NoAnswer(type(error).__name__) from error
        texts = []
        for record in answer.rrset or ():
            text = b"".join(record.strings).decode(errors="replace") if kind == "TXT" else record.to_text()
            texts.append(text)
        canonical = answer.canonical_name.to_text(omit_final_dot=True).lower()
        until = self._until(answer.chaining_result.minimum_ttl, found=bool(texts))
        return Found(tuple(sorted(texts)), True, self._secure(answer.response), canonical, until)

    def _secure(self, response: dns.message.Message) -> bool:
        return self.validating and bool(response.flags & dns.flags.AD)

    def _until(self, ttl: float, *, found: bool) -> float:
        return self._clock.now() + min(max(ttl, _SHORTEST), _LONGEST if found else _LONGEST_WITHOUT)


class _Waiting(asyncio.DatagramProtocol):
    """Waits for the answer to one question; what answers another one is passed over."""

    def __init__(self, loop: asyncio.AbstractEventLoop, id_: bytes, question: bytes) -> None:
        self.id = id_
        self.answer: asyncio.Future[bytes] = loop.create_future()
        self._question = question.lower()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """An answer of the server (the socket takes from nobody else), or something made up in its name."""
        ours = data[:2] == self.id and len(data) >= 12 and data[2] & 0x80 and data[4:6] == b"\0\1"
        if ours and data[12 : 12 + len(self._question)].lower() == self._question and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there."""
        if not self.answer.done():
            self.answer.set_exception(exc)


def reversed_name(address: str) -> str:
    """The labels by which lists and reverse DNS know an address: `4.3.2.1`, or 32 nibbles (RFC 5782 2.1, 2.4).

    Raises ValueError.
    """
    ip = ipaddress.ip_address(address)
    labels = reversed(str(ip).split(".") if ip.version == 4 else ip.packed.hex())
    return ".".join(labels)


def ascii_name(name: str) -> str:
    """A name as the DNS knows it: small letters, A-labels for those that are not ASCII (RFC 5890), no dot at the end.

    Raises ValueError if it is none.
    """
    try:
        codec = dns.name.IDNA_2008_Practical
        text = dns.name.from_text(name, idna_codec=codec).to_text(omit_final_dot=True).lower()
    except dns.exception.DNSException as error:
        raise ValueError(f"{name!r} is no name") from error
    if not _NAME.fullmatch(text):
        raise ValueError(f"{name!r} is no name")
    return text


def _refusals(error: dns.resolver.NoNameservers) -> str:
    """What the servers said, without the name that was asked for."""
    tries = error.kwargs.get("errors") or ()
    said = [str(result) if isinstance(result, str) else type(result).__name__ for *_, result, _ in tries]
    return "answered " + ", ".join(dict.fromkeys(said)) if said else "no name server answers"


def _resolver(resolvers: Sequence[str]) -> dns.asyncresolver.Resolver:
    """Raises dns.exception.DNSException if the system has none."""
    resolver = dns.asyncresolver.Resolver(configure=not resolvers)
    if resolvers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*host_port(text)) for text in resolvers]
    resolver.timeout, resolver.lifetime = _SERVER_SECONDS, _LIFETIME
    return resolver
