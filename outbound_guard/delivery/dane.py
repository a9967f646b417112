"""DANE: which certificate a mail server must have, as its own signed zone says (RFC 6698, RFC 7671, RFC 7672)."""

from __future__ import annotations

import binascii
import hashlib
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

_TRUST_ANCHOR, _END_ENTITY = 2, 3
_HASHES = {1: hashlib.sha256, 2: hashlib.sha512}


class Tlsa(msgspec.Struct, frozen=True):
    """One usable TLSA record."""

    usage: int
    selector: int
    """0: the whole certificate; 1: its public key."""
    matching: int
    """0: as it is; 1: SHA-256; 2: SHA-512."""
    data: bytes

    def fits(self, certificate: bytes) -> bool:
        """True if this is the certificate (DER) that is meant."""
        try:
            chosen = public_key(certificate) if self.selector else certificate
        except ValueError:
            return False
        return (_HASHES[self.matching](chosen).digest() if self.matching else chosen) == self.data


def usable(records: Iterable[str]) -> tuple[Tlsa, ...]:
    """Those of some TLSA records, as texts, that mean something for mail.

    RFC 7672 3.1.3: the usages 0 and 1, which ask for a public authority on top, do not.
    """
    found = []
    for record in records:
        parts = record.split()
        try:
            usage, selector, matching = map(int, parts[:3])
            data = binascii.unhexlify("".join(parts[3:]))
        except ValueError:
            continue
        length = {0: len(data), 1: 32, 2: 64}.get(matching)
        if usage in (_TRUST_ANCHOR, _END_ENTITY) and selector in (0, 1) and data and len(data) == length:
            found.append(Tlsa(usage, selector, matching, data))
    return tuple(found)


def vouched(records: Sequence[Tlsa], chain: Sequence[bytes]) -> bytes | None:
    """What vouches for a server that has shown `chain` (DER, its own certificate first).

    Empty if it does so by itself: then neither name nor date counts (RFC 7671 5.1). Else the certificate of the
    authority that the zone names; the chain from there to the server's, and the name in it, are still to be checked.
    None if nothing fits.
    """
    if not chain:
        return None
    if any(record.fits(chain[0]) for record in records if record.usage == _END_ENTITY):
        return b""
    for record in records:
        if record.usage == _TRUST_ANCHOR:
            for certificate in chain:
                if record.fits(certificate):
                    return certificate
            # RFC 7671 5.2.2: a whole certificate in the DNS need not be shown by the server.
            if record.selector == record.matching == 0:
                return record.data
    return None


def anchored(authority: bytes) -> ssl.SSLContext:
    """For sessions whose certificate must be for the server's name, and come from this authority (DER)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def chain_of(session: Any) -> list[bytes]:
    """What the server of an ssl.SSLObject has shown, as DER; its own certificate first."""
    # Public from Python 3.13 on, where it yields octets.
    ask = getattr(session, "get_unverified_chain", None) or session._sslobj.get_unverified_chain
    shown = ask() or []
    return [one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in shown]


def public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate (DER, RFC 5280 4.1). Raises ValueError."""
    tbs, _, _ = _value(certificate, _value(certificate, 0)[0])
    at = tbs
    if certificate[at : at + 1] == b"\xa0":  # The version, which old ones lack.
        at = _value(certificate, at)[1]
    for _ in ("serial number", "signature", "issuer", "validity", "subject"):
        at = _value(certificate, at)[1]
    return certificate[at : _value(certificate, at)[1]]


def _value(der: bytes, at: int) -> tuple[int, int, int]:
    """Where the value at `at` begins and ends, and its tag (X.690 8.1). Raises ValueError."""
    head = der[at : at + 2]
    if len(head) < 2:
        raise ValueError("the certificate ends too early")
    start, length = at + 2, head[1]
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4:
            raise ValueError("the certificate has a length that cannot be read")
        length = int.from_bytes(der[start : start + octets])
        start += octets
    if start + length > len(der):
        raise ValueError("the certificate ends too early")
    return start, start + length, head[0]
