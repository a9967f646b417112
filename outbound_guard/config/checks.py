"""What types cannot say about the configuration. Every function raises Mistake with the path of the setting."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import re
from urllib.parse import urlsplit

from outbound_guard.config.addresses import networks
from outbound_guard.config.files import certificate, readable
from outbound_guard.config.identity_checks import check_identity
from outbound_guard.config.notice_checks import check_notices
from outbound_guard.config.oidc_checks import check_oidc
from outbound_guard.config.panel_checks import check_panels
from outbound_guard.config.policy import Policy
from outbound_guard.config.pool_checks import check_pools
from outbound_guard.config.reading import Mistake
from outbound_guard.config.settings import Config, Scanner
from outbound_guard.config.state_url import check_state
from outbound_guard.config.values import HOST, endpoint, ip_address, network_list, numbers, positive, resolver_address
from outbound_guard.mail import MAX_HEADER


def check(config: Config) -> None:
    """The whole configuration file."""
    numbers("", config)
    name = config.server.hostname
    if name and not (len(name) <= 253 and HOST.fullmatch(name)):
        raise Mistake("server.hostname", f'"{name}" is no host name; expected one like "guard.example.net"')
    _listeners(config)
    _auth(config)
    for number, rule in enumerate(config.identity):
        check_identity(config, f"identity[{number}]", rule)
    positive("limits", config.limits, "message_size", "recipients", "connections", "connections_per_address")
    positive("limits", config.limits, "idle_seconds", "data_seconds", "errors", "auth_tries", "hops", "commands")
    if config.limits.header_size < 16_384:
        raise Mistake("limits.header_size", f"{config.limits.header_size} is too small for real mail; at least 16384")
    if config.limits.header_size > MAX_HEADER:
        raise Mistake("limits.header_size", f"{config.limits.header_size} is too large; at most {MAX_HEADER}")
    if config.limits.memory < 1_048_576:
        raise Mistake("limits.memory", f"{config.limits.memory} is too small; at least 1048576")
    if config.limits.message_size < 65_536:
        # RFC 5321 4.5.3.1.7: a server must be able to take 64K octets.
        raise Mistake("limits.message_size", f"{config.limits.message_size} is too small; at least 65536")
    check_state(config)
    positive("ledger", config.ledger, "keep_days")
    positive("spool", config.spool, "hold_expiry")
    _retention(config)
    positive("console", config.console, "idle_seconds", "session_seconds", "four_eyes_seconds")
    check_oidc(config)
    _customers(config)
    positive("recording", config.recording, "keep_days", "max_bytes")
    _ledger(config)
    _delivery(config)
    _dkim(config)
    if config.policy.file:
        readable(config, "policy.file", config.policy.file)
    if config.policy.model:
        readable(config, "policy.model", config.policy.model)
    for number, resolver in enumerate(config.dns.resolvers):
        resolver_address(f"dns.resolvers[{number}]", resolver)
    _scanners(config)
    _cases(config)
    _blocklist(config)
    _feedback(config)
    check_notices(config)
    check_panels(config)


def _retention(config: Config) -> None:
    days = config.retention.cases
    if 0 < days < config.cases.reopen_days:
        raise Mistake(
            "retention.cases",
            f"{days} is shorter than cases.reopen_days ({config.cases.reopen_days}), for which a case may come back; "
            "name at least as many days, or 0 for ever",
        )


def _customers(config: Config) -> None:
    customers = config.customers
    positive("customers", customers, "link_seconds")
    if customers.url and not re.fullmatch(r"https?://[^\s/?#@\\\"<>]+(?:/[\w.~/-]*)?", customers.url):
        raise Mistake(
            "customers.url", f'"{customers.url}" is no address of a site; expected "https://guard.example.net"'
        )
    if customers.url and not config.console.address:
        raise Mistake("customers.url", "needs the console, which console.address turns off")
    if not customers.help.isprintable() or len(customers.help) > 200:
        raise Mistake("customers.help", "must be one line of at most 200 characters")


def _feedback(config: Config) -> None:
    feedback = config.feedback
    network_list("feedback.networks", feedback.networks)
    network_list("feedback.trusted", feedback.trusted)
    if feedback.message_size < 65_536:
        raise Mistake("feedback.message_size", f"{feedback.message_size} is too small; at least 65536")
    for number, name in enumerate(feedback.recipients):
        if not re.fullmatch(r"[^\s@<>]{1,64}(?:@[^\s@<>]{1,255})?", name):
            where = f"feedback.recipients[{number}]"
            raise Mistake(where, f'"{name}" is no address and no local part; expected "fbl" or "fbl@example.net"')
    if feedback.address and not feedback.recipients:
        raise Mistake("feedback.recipients", "is empty; name the addresses that reports come to, or their local parts")


def _blocklist(config: Config) -> None:
    if config.blocklist.file:
        readable(config, "blocklist.file", config.blocklist.file)
    if config.blocklist.channels:
        readable(config, "blocklist.channels", config.blocklist.channels)
    for number, resolver in enumerate(config.blocklist.resolvers):
        resolver_address(f"blocklist.resolvers[{number}]", resolver)
    positive("blocklist", config.blocklist, "per_second", "per_second_per_list")
    if 0 < config.blocklist.interval < 1:
        raise Mistake("blocklist.interval", f"{config.blocklist.interval:g} is too short; 0, or at least 1")
    network_list("blocklist.addresses", config.blocklist.addresses)
    for number, domain in enumerate(config.blocklist.domains):
        if not _is_domain(domain):
            raise Mistake(f"blocklist.domains[{number}]", f'"{domain}" is no domain; expected one like "example.net"')


def _is_domain(text: str) -> bool:
    """Also one with letters that are not ASCII (RFC 5890); no address, nor what looks like one."""
    try:
        name = text.encode("idna").decode().rstrip(".")
    except UnicodeError:
        return False
    return bool(HOST.fullmatch(name)) and "." in name and len(name) <= 200 and not name.rpartition(".")[2].isdigit()


def _cases(config: Config) -> None:
    cases = config.cases
    positive("cases", cases, "clean_days", "reopen_days", "refusals", "refusal_seconds", "original_days")
    if not re.fullmatch(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})?", cases.language):
        raise Mistake("cases.language", f'"{cases.language}" is no language; expected one like "en"')
    if cases.contact and not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+", cases.contact):
        raise Mistake("cases.contact", f'"{cases.contact}" is no address; expected one like "abuse@example.net"')
    if cases.texts and not config.resolve(cases.texts).is_dir():
        raise Mistake("cases.texts", f'"{cases.texts}" is no folder; paths start at the folder of this file')


def _scanners(config: Config) -> None:
    names: dict[str, int] = {}
    for number, scanner in enumerate(config.scanner):
        where, name = f"scanner[{number}]", scanner.name or scanner.kind
        if not re.fullmatch(r"[\w.-]{1,64}", name, re.ASCII):
            raise Mistake(f"{where}.name", f'"{name}" is no name; expected letters, digits, ".", "-" and "_"')
        if names.setdefault(name, number) != number:
            raise Mistake(f"{where}.name", f'"{name}" is already the name of scanner[{names[name]}]; give it another')
        positive(where, scanner, "timeout", "message_size", "connections", "failures", "pause")
        if scanner.timeout > 10:
            raise Mistake(f"{where}.timeout", f"{scanner.timeout:g} is too long, mail waits for it; at most 10")
        if scanner.kind == "uribl":
            _uribl(where, scanner)
            continue
        for key in ("zone", "codes"):
            if getattr(scanner, key):
                raise Mistake(f"{where}.{key}", f'means nothing for kind = "{scanner.kind}"; it belongs to "uribl"')
        if not scanner.address:
            raise Mistake(f"{where}.address", f'is needed for kind = "{scanner.kind}"; HOST:PORT or unix:PATH')
        if scanner.address.startswith("unix:"):
            if scanner.address in ("unix:", "unix://"):
                raise Mistake(f"{where}.address", f'"{scanner.address}" names no socket; expected unix:PATH')
        elif not endpoint(f"{where}.address", scanner.address, "127.0.0.1:783, or unix:PATH")[1]:
            raise Mistake(f"{where}.address", f'"{scanner.address}" has no port to connect to')


def _uribl(where: str, scanner: Scanner) -> None:
    if scanner.address:
        raise Mistake(f"{where}.address", 'means nothing for kind = "uribl"; its servers are those of [dns]')
    if "." not in scanner.zone or len(scanner.zone) > 128 or not HOST.fullmatch(scanner.zone):
        raise Mistake(f"{where}.zone", f'"{scanner.zone}" is no zone; expected one like "dbl.example.org"')
    for code in scanner.codes:
        try:
            if code.startswith("&"):
                sound = code[1:].isdecimal() and 1 <= int(code[1:]) <= 255
            else:
                sound = ipaddress.IPv4Network(code).network_address in ipaddress.IPv4Network("127.0.0.0/8")
        except ValueError:
            sound = False
        if not sound:
            raise Mistake(
                f"{where}.codes", f'"{code}" is no answer of a list; expected "127.0.1.2", "127.0.1.0/24" or "&8"'
            )


def check_policy(policy: Policy) -> None:
    """The policy file; what stands in its [signal.*] tables is the signals' own business."""
    numbers("", policy)
    steps = policy.threshold
    positive("threshold", steps, *steps.__struct_fields__)
    names = steps.__struct_fields__
    for lower, upper in itertools.pairwise(names):
        if getattr(steps, lower) > getattr(steps, upper):
            raise Mistake(
                f"threshold.{upper}",
                f"{getattr(steps, upper):g} is below {lower} ({getattr(steps, lower):g}); they must rise: "
                f"{' <= '.join(names)}",
            )
    positive("hold", policy.hold, "wait", "longest", "slice_wait")
    if policy.hold.longest < policy.hold.wait:
        raise Mistake("hold.longest", f"{policy.hold.longest:g} is shorter than hold.wait ({policy.hold.wait:g})")
    if policy.hold.slice_growth < 2:
        # Less than what was answered already would be no growth.
        raise Mistake("hold.slice_growth", f"{policy.hold.slice_growth:g} is below 2")
    positive("defer", policy.defer, "retry_after")
    if not 0 < policy.probation.thresholds <= 1:
        raise Mistake("probation.thresholds", f"{policy.probation.thresholds:g} is not above 0, at most 1")
    for number, rule in enumerate(policy.allow):
        where = f"allow[{number}]"
        if not (rule.account or rule.sender or rule.server or rule.mail_from):
            raise Mistake(where, "would exempt everybody; name an account, sender, server or mail_from")
        if not rule.reason.strip():
            raise Mistake(f"{where}.reason", "is empty; say why, for whoever reads it next year")
        try:
            if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", rule.until, re.ASCII):
                raise ValueError
            datetime.date.fromisoformat(rule.until)
        except ValueError:
            raise Mistake(f"{where}.until", f'"{rule.until}" is no day; expected YYYY-MM-DD') from None


def _listeners(config: Config) -> None:
    taken: dict[str, str] = {}
    for number, listener in enumerate(config.listener):
        where = f"listener[{number}]"
        _own_address(f"{where}.address", listener.address, taken)
        network_list(f"{where}.trusted", listener.trusted)
        for key in ("proxy_protocol", "xclient"):
            network_list(f"{where}.{key}", getattr(listener, key))
            for text in getattr(listener, key):
                if networks([text])[0].prefixlen == 0:
                    raise Mistake(f"{where}.{key}", f'"{text}" lets everybody choose an address; name your own hosts')
        for network, text in zip(networks(listener.trusted), listener.trusted, strict=True):
            if network.prefixlen == 0:
                raise Mistake(f"{where}.trusted", f'"{text}" makes an open relay; name the networks of your servers')
        if listener.tls != "none":
            certificate(config, where, listener.certificate, listener.private_key, f'tls = "{listener.tls}"')
        if listener.auth != "none" and not config.auth.passwords:
            raise Mistake("auth.passwords", f'is needed for auth = "{listener.auth}" of {where}; name a file')
    _own_address("feedback.address", config.feedback.address, taken)
    _own_address("console.address", config.console.address, taken)
    _own_address("metrics.address", config.metrics.address, taken)
    console = config.console
    if console.certificate or console.private_key:
        certificate(config, "console", console.certificate, console.private_key, "https")
    network_list("console.proxies", console.proxies)


def _own_address(where: str, text: str, taken: dict[str, str]) -> None:
    """An address to listen on: an IP address or localhost, with a port, used once."""
    if not text and not where.startswith("listener"):
        return
    host, port = endpoint(where, text, "127.0.0.1:2525")
    if host != "localhost":
        ip_address(where, host)
    if port and taken.setdefault(text, where) != where:
        raise Mistake(where, f'"{text}" is already the address of {taken[text].removesuffix(".address")}')


def _auth(config: Config) -> None:
    positive("auth", config.auth, "tries_per_address", "tries_per_login", "tries_seconds")
    if config.auth.passwords:
        readable(config, "auth.passwords", config.auth.passwords)
    for number, pattern in enumerate(config.auth.server_logins):
        if not pattern.strip("*?[]! "):
            raise Mistake(
                f"auth.server_logins[{number}]",
                f'"{pattern}" would trust the headers of every login; expected a pattern like "relay-*"',
            )


def _ledger(config: Config) -> None:
    url, server = config.ledger.url, config.server
    if server.node and not (len(server.node) <= 253 and HOST.fullmatch(server.node)):
        raise Mistake("server.node", f'"{server.node}" is no name of a host; expected one like "relay1"')
    if url == "embedded":
        return
    expected = "expected embedded | postgresql://USER@HOST:PORT/DATABASE"
    try:
        parts = urlsplit(url)
        _ = parts.port  # It is read, and may be none, only when it is asked for.
    except ValueError:
        parts = urlsplit("")
    if parts.scheme != "postgresql" or not parts.path.strip("/"):
        # What else it says may be a password.
        what = f"{parts.scheme}://" if parts.scheme else "it"
        raise Mistake("ledger.url", f"{what} cannot be used as it is there; {expected}")
    if not (server.node or server.hostname):
        raise Mistake(
            "server.node", "is needed with ledger.url = postgresql://: the name of this host, which no other host has"
        )


def _delivery(config: Config) -> None:
    delivery = config.delivery
    if not delivery.retry:
        raise Mistake("delivery.retry", "is empty; expected seconds until each next try, for example [5, 30, 120, 600]")
    for number, wait in enumerate(delivery.retry):
        if wait <= 0:
            raise Mistake(f"delivery.retry[{number}]", f"{wait:g} is not possible; it must be more than 0")
    positive("delivery", delivery, "expiry", "port", "connections", "patience")
    if delivery.port > 65535:
        raise Mistake("delivery.port", f"{delivery.port} is no port; usually 25")
    network_list("delivery.private_networks", delivery.private_networks)
    if delivery.feedback_id and not re.fullmatch(r"[A-Za-z0-9]{5,15}", delivery.feedback_id):
        raise Mistake("delivery.feedback_id", f'"{delivery.feedback_id}" is not made of 5 to 15 letters and digits')
    if delivery.mode == "smarthost" and not any(pool.smarthosts for pool in delivery.pool):
        # A slip must never swallow mail.
        raise Mistake(
            "delivery",
            'mode is "smarthost", but no [[delivery.pool]] names a smarthost; '
            'name one, or say mode = "sink" to write mail to data_dir/sink instead of sending it',
        )
    check_pools(config)


def _dkim(config: Config) -> None:
    known: dict[tuple[str, str], int] = {}
    for number, table in enumerate(config.dkim):
        where = f"dkim[{number}]"
        if not _is_domain(table.domain) or not table.domain.isascii():
            raise Mistake(f"{where}.domain", f'"{table.domain}" is no domain; expected one like "example.net"')
        if not HOST.fullmatch(table.selector) or len(table.selector) > 63:
            raise Mistake(f"{where}.selector", f'"{table.selector}" is no selector; expected one like "guard1"')
        pair = (table.domain.lower(), table.selector.lower())
        if known.setdefault(pair, number) != number:
            raise Mistake(f"{where}.selector", f'"{table.selector}" is already that of dkim[{known[pair]}]')
        readable(config, f"{where}.private_key", table.private_key)
