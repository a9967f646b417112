"""ID tokens: what a provider says about somebody who signed in there, and whether to believe it. Pure.

The only user of joserfc, which does the arithmetic of signatures. Which key and which algorithm are right is decided
here: an algorithm of a short list, with a key of its own type from the provider's set, so that neither a token without
a signature nor one signed with what everybody knows, the public key as a password, gets anywhere (RFC 8725 3.1).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any

import msgspec
from joserfc import jwk, jws
from joserfc.errors import JoseError

ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
"""Those that are taken, with the type of their keys."""
LEEWAY = 60.0
"""Seconds by which the clocks of the provider and of this machine may differ."""
_CURVES = {"ES256": "P-256", "EdDSA": "Ed25519"}
_PUBLIC = ("kty", "n", "e", "crv", "x", "y")
_KEYS = 50
"""Of one set; those beyond are not looked at."""
_WEAK, _LARGE = 2048, 8192
"""Bits of an RSA key."""
_SUBJECT = 255
_FAR = 1e12
"""Unix seconds that are no time any more."""


class TokenRefused(Exception):  # noqa: N818 -- It says that a token is not believed; no fault of ours.
    """The token is not believed; the text says why, without anything from the token but names."""


class UnknownKey(TokenRefused):
    """The token is signed with a key that is not in the set: there may be a newer set."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a token must say."""

    issuer: str
    client: str
    nonce: str


class SigningKey(msgspec.Struct, frozen=True):
    """A key by which signatures can be checked."""

    kid: str
    """Empty: it has no name."""
    type: str
    """RSA | EC | OKP"""
    curve: str
    algorithm: str
    """The one it is for; empty: any of its type."""
    key: Any


class _Registry(jws.JWSRegistry):
    """Knows the algorithms of the list and no others."""

    max_header_length = 16_384

    def get_alg(self, name: str) -> Any:
        """The algorithm of this name. Raises TokenRefused."""
        if name not in ALGORITHMS:
            raise TokenRefused("its algorithm is none of those that are taken")
        return self.algorithms[name]


_REGISTRY = _Registry(algorithms=list(ALGORITHMS), strict_check_header=False)


def keys_of(document: bytes) -> tuple[SigningKey, ...]:
    """The keys of a set (RFC 7517 5), without those that are of no use here. Raises ValueError if it is no set."""
    try:
        found = msgspec.json.decode(document, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("its set of keys is no JSON object") from None
    keys = found.get("keys")
    if not isinstance(keys, list):
        raise ValueError("its set of keys has no keys")
    made = (_key(one) for one in keys[:_KEYS] if isinstance(one, dict))
    return tuple(one for one in made if one is not None)


def read(token: str, keys: tuple[SigningKey, ...], expected: Expected, now: float) -> dict[str, Any]:
    """The claims of a token that is to be believed. Raises TokenRefused, UnknownKey (OpenID Connect Core 3.1.3.7)."""
    claims = _signed(token, keys)
    _about_whom(claims, expected)
    _when(claims, now)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise TokenRefused("its nonce is not the one of this sign-in")
    return claims


def check_access_token(token: str, claims: dict[str, Any], access_token: str) -> None:
    """Raises TokenRefused if an ID token belongs to another access token (OpenID Connect Core 3.1.3.6)."""
    if "at_hash" not in claims:
        return
    algorithm = _header(token).get("alg")
    # Ed25519 has SHA-512 inside of it, and so has its at_hash.
    digest = (hashlib.sha512 if algorithm == "EdDSA" else hashlib.sha256)(access_token.encode()).digest()
    half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
    if not hmac.compare_digest(str(claims["at_hash"]).encode(), half.encode()):
        raise TokenRefused("its at_hash is not that of the access token")


def _signed(token: str, keys: tuple[SigningKey, ...]) -> dict[str, Any]:
    header = _header(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenRefused(f"its algorithm is none of {', '.join(ALGORITHMS)}")
    if "crit" in header or "b64" in header:
        raise TokenRefused("it has a header that must be understood, and is not")
    fitting = [
        key
        for key in keys
        if key.type == ALGORITHMS[algorithm]
        and key.curve == _CURVES.get(algorithm, "")
        and key.algorithm in ("", algorithm)
        and (kid is None or key.kid == kid)
    ]
    if not fitting:
        raise UnknownKey("the provider does not show the key that it is signed with")
    for key in fitting:
        try:
            content = jws.deserialize_compact(token, key.key, registry=_REGISTRY).payload
        except (JoseError, ValueError, TypeError):
            continue
        return _object(content, "it")
    if kid is None:
        raise UnknownKey("no key that the provider shows fits its signature")
    raise TokenRefused("its signature is wrong")


def _header(token: str) -> dict[str, Any]:
    if not token.isascii() or token.count(".") != 2:
        raise TokenRefused("it is no signed token")
    first = token.partition(".")[0]
    try:
        octets = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4))
    except (binascii.Error, ValueError):
        raise TokenRefused("its header is no JSON object") from None
    return _object(octets, "its header")


def _object(octets: bytes, what: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(octets, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise TokenRefused(f"{what} is no JSON object") from None


def _about_whom(claims: dict[str, Any], expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise TokenRefused("it is from another issuer")
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or expected.client not in audiences:
        raise TokenRefused("it is for another client")
    # Whoever else it is for must not be the one who may use it.
    if ("azp" in claims or len(audiences) > 1) and claims.get("azp") != expected.client:
        raise TokenRefused("it was given out to another client")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _SUBJECT or not subject.isprintable():
        raise TokenRefused("it does not say about whom it is")


def _when(claims: dict[str, Any], now: float) -> None:
    if _time(claims, "exp") <= now - LEEWAY:
        raise TokenRefused("it has expired")
    if _time(claims, "iat") > now + LEEWAY:
        raise TokenRefused("it is from the future: is the clock of this machine right?")
    if "nbf" in claims and _time(claims, "nbf") > now + LEEWAY:
        raise TokenRefused("it is not good yet: is the clock of this machine right?")


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    # Compared, not converted: an integer may have more digits than a float can hold.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _FAR:
        raise TokenRefused(f"its {name} is no time")
    return float(value)


def _key(found: dict[str, Any]) -> SigningKey | None:
    # What is not known is passed over (RFC 7517 5), and so is what no signature should be believed by.
    public = {name: found[name] for name in _PUBLIC if isinstance(found.get(name), str)}
    kind, algorithm, kid = public.get("kty", ""), found.get("alg", ""), found.get("kid", "")
    if kind not in ALGORITHMS.values() or found.get("use", "sig") != "sig":
        return None
    if not isinstance(algorithm, str) or not isinstance(kid, str):
        return None
    if kind == "RSA" and not _WEAK <= len(public.get("n", "").rstrip("=")) * 6 <= _LARGE + 16:
        return None
    if kind != "RSA" and public.get("crv") not in _CURVES.values():
        return None
    try:
        key = jwk.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return SigningKey(kid, kind, public.get("crv", "") if kind != "RSA" else "", algorithm, key)
