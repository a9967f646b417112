"""Direct delivery over TLS: taken as it comes, unless the receiver's domain says what it must be."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from outbound_guard import config
from outbound_guard.clock import VirtualClock
from outbound_guard.delivery import Delivery, Result
from outbound_guard.mail import Envelope
from tests.nexthop import NextHop
from tests.world import StartHop, World

CONTENT = [b"Subject: hello\r\n\r\nA line.\r\n"]
EVENT_LOOPS = ("asyncio", "uvloop")
MX = "mx.there.test"
ENVELOPE = Envelope("a@x.test", ("b@there.test",))
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Authority:
    """A certificate authority, and certificates that are wrong in all the ways that occur."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.other = trustme.CA(), trustme.CA()
        self.file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.file)
        self._folder = folder

    def leaf(self, kind: str, name: str = MX) -> trustme.LeafCert:
        match kind:
            case "right":
                return self.ca.issue_cert(name)
            case "another name":
                return self.ca.issue_cert("mx.elsewhere.test")
            case "expired":
                return self.ca.issue_cert(name, not_before=LONG_AGO, not_after=LONG_AGO + datetime.timedelta(1))
            case _:
                return self.other.issue_cert(name)

    def context(self, leaf: trustme.LeafCert, *, whole: bool = False) -> ssl.SSLContext:
        """For a server; with `whole` it shows the authority's own certificate too."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem = self._folder / "server.pem"
        chain = [leaf.private_key_pem, *leaf.cert_chain_pems, *([self.ca.cert_pem] if whole else [])]
        pem.write_bytes(b"".join(part.bytes() for part in chain))
        context.load_cert_chain(pem)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def world(next_hop: StartHop, tmp_path: Path) -> AsyncIterator[World]:
    async with World(next_hop, tmp_path) as one:
        yield one


WRONG = ("another name", "expired", "of nobody")


def insecure(result: Result) -> bool:
    return [(reply.code, reply.enhanced) for reply in result.replies] == [(451, "4.7.5")] and not result.reached


async def server(world: World, authority: Authority, kind: str = "right", *, whole: bool = False) -> NextHop:
    hop = await world.server(MX, tls=authority.context(authority.leaf(kind), whole=whole))
    world.domain("there.test", (10, MX))
    return hop


class TestOpportunistic:
    @pytest.mark.parametrize("kind", ["right", *WRONG])
    async def test_any_certificate_is_better_than_none(self, world: World, authority: Authority, kind: str) -> None:
        hop = await server(world, authority, kind)
        result = await world.delivery().send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)

    async def test_of_an_address_in_brackets(self, world: World, authority: Authority) -> None:
        hop = await world.server(tls=authority.context(authority.ca.issue_cert("127.0.7.1")))
        assert hop.host == "127.0.7.1"
        delivery = world.delivery(config.Pool(tls="required", ca_file=authority.file))
        result = await delivery.send(Envelope("a@x.test", ("b@[127.0.7.1]",)), CONTENT)
        assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)

    async def test_none_is_better_than_not_at_all(self, world: World, authority: Authority) -> None:
        hop = await server(world, authority)
        hop.answer("STARTTLS", "454 4.7.0 TLS not available", times=None)
        result = await world.delivery().send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, hop.messages[0].session.tls) == (250, False)

    @pytest.mark.parametrize("kind", ["right", *WRONG])
    async def test_what_the_pool_requires(self, world: World, authority: Authority, kind: str) -> None:
        hop = await server(world, authority, kind)
        result = await world.delivery(config.Pool(tls="required", ca_file=authority.file)).send(ENVELOPE, CONTENT)
        if kind == "right":
            assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)
        else:
            assert insecure(result)
            assert (hop.messages, hop.refused) == ([], [])


class Web:
    """The web server of mta-sts.there.test."""

    def __init__(self) -> None:
        self.mode, self.mx, self.age = "enforce", MX, 86_400
        self.answer: bytes | None = None
        """Instead of the policy."""
        self.asked: list[bytes] = []
        self.port = 0

    def policy(self) -> bytes:
        text = f"version: STSv1\nmode: {self.mode}\nmx: {self.mx}\nmax_age: {self.age}\n".encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text) + text

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.policy() if self.answer is None else self.answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client went away, which is among what is tested.
        finally:
            writer.close()


class TestMtaSts:
    @pytest.fixture
    async def web(self, world: World, authority: Authority, tmp_path: Path) -> AsyncIterator[Web]:
        web = Web()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.ca.issue_cert("mta-sts.there.test").configure_cert(context)
        listening = await asyncio.start_server(web.serve, "127.0.7.200", 0, ssl=context)
        web.port = listening.sockets[0].getsockname()[1]
        world.dns.names["mta-sts.there.test"] = ["127.0.7.200"]
        world.dns.records["_mta-sts.there.test", "TXT"] = ['"v=STSv1; id=20260101;"']
        yield web
        listening.close()

    def delivery(self, world: World, authority: Authority, web: Web, clock: VirtualClock | None = None) -> Delivery:
        return world.delivery(config.Pool(ca_file=authority.file), https=web.port, clock=clock)

    @pytest.mark.parametrize("mode", ["enforce", "testing", "none"])
    @pytest.mark.parametrize("kind", ["right", *WRONG])
    async def test_certificates(self, world: World, authority: Authority, web: Web, mode: str, kind: str) -> None:
        hop = await server(world, authority, kind)
        web.mode = mode
        result = await self.delivery(world, authority, web).send(ENVELOPE, CONTENT)
        [asked] = web.asked
        assert asked.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.there.test")
        if kind == "right" or mode != "enforce":
            assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)
        else:
            assert insecure(result)
            assert (hop.messages, hop.refused) == ([], [])

    @pytest.mark.parametrize("place", ["STARTTLS", "EHLO"])
    async def test_tls_taken_away(self, world: World, authority: Authority, web: Web, place: str) -> None:
        hop = await server(world, authority)
        hop.answer(place, {"STARTTLS": "454 4.7.0 no", "EHLO": "250 mx"}[place], times=None)
        assert insecure(await self.delivery(world, authority, web).send(ENVELOPE, CONTENT))
        assert hop.messages == []

    async def test_a_server_that_is_not_named(self, world: World, authority: Authority, web: Web) -> None:
        hop = await server(world, authority)
        web.mx = "*.other.test"
        result = await self.delivery(world, authority, web).send(ENVELOPE, CONTENT)
        assert (insecure(result), hop.sessions) == (True, [])
        assert "MTA-STS" in result.replies[0].text

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\nversion: STSv1",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"mx: a.test\n" * 10_000,
            b"not http at all\r\n\r\n",
            b"",
        ],
        ids=["missing", "redirect", "html", "no-policy", "large", "no-http", "nothing"],
    )
    async def test_what_is_no_policy_is_none(self, world: World, authority: Authority, web: Web, answer: bytes) -> None:
        hop = await server(world, authority, "of nobody")
        web.answer = answer
        result = await self.delivery(world, authority, web).send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)

    @pytest.mark.parametrize("kind", WRONG)
    async def test_a_web_server_with_a_wrong_certificate_has_no_policy(
        self, world: World, authority: Authority, web: Web, kind: str
    ) -> None:
        hop = await server(world, authority, "of nobody")
        leaf = authority.leaf(kind, "mta-sts.there.test")
        listening = await asyncio.start_server(web.serve, "127.0.7.201", web.port, ssl=authority.context(leaf))
        world.dns.names["mta-sts.there.test"] = ["127.0.7.201"]
        result = await self.delivery(world, authority, web).send(ENVELOPE, CONTENT)
        listening.close()
        assert (result.replies[0].code, len(hop.messages), web.asked) == (250, 1, [])

    async def test_a_policy_is_not_fetched_from_inside(self, world: World, authority: Authority, web: Web) -> None:
        hop = await server(world, authority, "of nobody")
        only = (f"{hop.host}/32",)  # The mail server's address may be used, that of the web server may not.
        delivery = world.delivery(config.Pool(ca_file=authority.file), https=web.port, private_networks=only)
        result = await delivery.send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, web.asked) == (250, [])

    async def test_a_policy_holds_until_its_end(self, world: World, authority: Authority, web: Web) -> None:
        hop = await server(world, authority, "of nobody")
        web.age = 7200
        clock = VirtualClock(1_000_000.0)
        assert insecure(await self.delivery(world, authority, web, clock).send(ENVELOPE, CONTENT))
        # Who takes the record, and the web server, away from us does not take the policy away; nor does a restart.
        del world.dns.records["_mta-sts.there.test", "TXT"]
        web.answer = b""
        clock.advance(7000.0)
        delivery = self.delivery(world, authority, web, clock)
        assert insecure(await delivery.send(ENVELOPE, CONTENT))
        clock.advance(4000.0)
        result = await delivery.send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, len(web.asked), len(hop.messages)) == (250, 1, 1)

    async def test_a_new_policy_is_fetched(self, world: World, authority: Authority, web: Web) -> None:
        await server(world, authority, "of nobody")
        clock = VirtualClock(1_000_000.0)
        delivery = self.delivery(world, authority, web, clock)
        assert insecure(await delivery.send(ENVELOPE, CONTENT))
        web.mode = "none"
        clock.advance(400.0)
        assert insecure(await delivery.send(ENVELOPE, CONTENT))  # The id is the same, so it is not looked at again.
        assert len(web.asked) == 1
        world.dns.records["_mta-sts.there.test", "TXT"] = ['"v=STSv1; id=20260102;"']
        clock.advance(400.0)
        result = await delivery.send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, len(web.asked)) == (250, 2)


class TestDane:
    def record(self, world: World, text: str, name: str = MX) -> None:
        world.dns.secure = True
        world.dns.records[f"_{world.port}._tcp.{name}", "TLSA"] = [text]

    def delivery(self, world: World, validating: bool = True) -> Delivery:
        return world.delivery(dns={"validating": validating})

    def digest(self, pem: trustme.Blob) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.bytes().decode())).hexdigest()

    @pytest.mark.parametrize("kind", ["right", *WRONG])
    async def test_its_own_certificate(self, world: World, authority: Authority, kind: str) -> None:
        leaf = authority.leaf(kind)
        hop = await world.server(MX, tls=authority.context(leaf))
        world.domain("there.test", (10, MX))
        self.record(world, f"3 0 1 {self.digest(leaf.cert_chain_pems[0])}")
        result = await self.delivery(world).send(ENVELOPE, CONTENT)
        # The zone vouches for it: neither its name nor its dates nor who has issued it counts (RFC 7671 5.1).
        assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)

    @pytest.mark.parametrize("text", ["3 0 1 " + "00" * 32, "3 1 1 " + "00" * 32, "2 0 1 " + "00" * 32])
    async def test_another_certificate(self, world: World, authority: Authority, text: str) -> None:
        hop = await server(world, authority)
        self.record(world, text)
        assert insecure(await self.delivery(world).send(ENVELOPE, CONTENT))
        assert hop.messages == []

    async def test_tls_taken_away(self, world: World, authority: Authority) -> None:
        hop = await server(world, authority)
        hop.answer("EHLO", "250 mx", times=None)
        self.record(world, "3 0 1 " + "00" * 32)
        assert insecure(await self.delivery(world).send(ENVELOPE, CONTENT))

    @pytest.mark.parametrize("kind", ["right", "another name", "expired"])
    async def test_an_authority(self, world: World, authority: Authority, kind: str) -> None:
        hop = await server(world, authority, kind, whole=True)
        self.record(world, f"2 0 1 {self.digest(authority.ca.cert_pem)}")
        result = await self.delivery(world).send(ENVELOPE, CONTENT)
        if kind == "right":
            assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)
        else:
            assert insecure(result)

    async def test_an_authority_that_has_not_issued_it(self, world: World, authority: Authority) -> None:
        leaf = authority.leaf("of nobody")
        hop = await world.server(MX, tls=authority.context(leaf, whole=True))
        world.domain("there.test", (10, MX))
        self.record(world, f"2 0 1 {self.digest(authority.ca.cert_pem)}")
        assert insecure(await self.delivery(world).send(ENVELOPE, CONTENT))
        assert hop.messages == []

    async def test_an_authority_that_stands_in_the_dns_alone(self, world: World, authority: Authority) -> None:
        hop = await server(world, authority)
        self.record(world, "2 0 0 " + ssl.PEM_cert_to_DER_cert(authority.ca.cert_pem.bytes().decode()).hex())
        result = await self.delivery(world).send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)

    @pytest.mark.parametrize("text", ["1 0 1 " + "00" * 32, "3 7 1 " + "00" * 32])
    async def test_records_that_mean_nothing_ask_for_any_tls(
        self, world: World, authority: Authority, text: str
    ) -> None:
        hop = await server(world, authority, "of nobody")
        self.record(world, text)
        delivery = self.delivery(world)
        result = await delivery.send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)
        await delivery.close()
        hop.answer("EHLO", "250 mx", times=None)
        assert insecure(await self.delivery(world).send(ENVELOPE, CONTENT))

    @pytest.mark.parametrize("unsigned", ["there.test", MX, "tlsa", "resolver"])
    async def test_what_is_not_validated_does_not_count(
        self, world: World, authority: Authority, unsigned: str
    ) -> None:
        hop = await server(world, authority)
        self.record(world, "3 0 1 " + "00" * 32)
        world.dns.insecure.add(unsigned.replace("tlsa", f"_{world.port}._tcp.{MX}"))
        result = await self.delivery(world, validating=unsigned != "resolver").send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, hop.messages[0].session.tls) == (250, True)

    async def test_who_keeps_the_answer_from_us_gains_nothing(self, world: World, authority: Authority) -> None:
        hop = await server(world, authority)
        world.dns.secure = True
        world.dns.broken.add((f"_{world.port}._tcp.{MX}", "TLSA"))
        result = await self.delivery(world).send(ENVELOPE, CONTENT)
        assert (result.replies[0].code, result.replies[0].enhanced, hop.sessions) == (451, "4.4.3", [])

    async def test_a_server_with_an_alias(self, world: World, authority: Authority) -> None:
        hop = await world.server("host.there.test", tls=authority.context(authority.leaf("right")))
        world.dns.records[MX, "CNAME"] = ["host.there.test."]
        world.domain("there.test", (10, MX))
        self.record(world, "3 0 1 " + "00" * 32, "host.there.test")
        assert insecure(await self.delivery(world).send(ENVELOPE, CONTENT))
        assert hop.messages == []
