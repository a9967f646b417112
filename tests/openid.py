"""An OpenID Connect provider that we own: a real HTTP server with keys made when it starts, which can do all wrong.

with Provider(console="http://127.0.0.1:8080") as idp:
    idp.person = {"sub": "u-1", "preferred_username": "ann", "groups": ["desk-admins"]}
    ... idp.issuer is the issuer, idp.secret the client's secret, "guard" the client ...
    idp.wrong = "alg-none"               # the next ID token is wrong in this way
    idp.answers["token"] = "hang"        # or STATUS, "huge", "redirect", "garbage"

It checks what a provider checks: client, redirect URI, PKCE, that a code is used once. `browse` is a browser that signs
in there: it follows the address and gives the one to go back to.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jwk, jws

CLIENT = "guard"
EDDSA = jws.JWSRegistry.algorithms["EdDSA"]


class _Every(jws.JWSRegistry):
    """All algorithms, bad ones too."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


@dataclass
class Provider:
    """One provider."""

    console: str = "http://127.0.0.1:1"
    """Where its client is: people go back to CONSOLE/sign-in/oidc/callback and nowhere else."""
    host: str = "127.0.0.1"
    """As it calls itself; `localhost` is another site for browsers than 127.0.0.1, whatever the port."""
    algorithm: str = "RS256"
    person: dict[str, Any] = field(
        default_factory=lambda: {"sub": "u-1", "preferred_username": "Ann", "groups": ["desk-admins"]}
    )
    told_later: dict[str, Any] = field(default_factory=dict)
    """Claims that only userinfo tells."""
    wrong: str = ""
    """alg-none | unsigned | hs256 | other-key | audience | azp | issuer | nonce | expired | future | not-yet | no-sub |
    crit | at-hash | no-kid | unknown-kid | answer-issuer | denied | list"""
    answers: dict[str, str] = field(default_factory=dict)
    """For `discovery`, `keys`, `token` or `userinfo`: a status, huge, hang, garbage, redirect, issuer or http."""
    post: bool = False
    """The client shows its secret in the form."""
    says_issuer: bool = False
    """Its answers have `iss` (RFC 9207)."""
    by_form: bool = False
    """Somebody has to press a button there."""
    secret: str = "s3cret/with+odd:signs"
    asked: list[str] = field(default_factory=list)
    """What it was asked, in order: discovery, authorize, token, keys, userinfo, end-session."""
    signed_out: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    clock: Any = time.time
    shown: list[dict[str, Any]] = field(default_factory=list)
    """The public keys."""

    def __enter__(self) -> Provider:
        self.rotate()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._serve(self, b"")

            def do_POST(self) -> None:
                provider._serve(self, self.rfile.read(int(self.headers.get("Content-Length", "0"))))

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.free = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.place = f"http://{self.host}:{self.port}"
        self.issuer = f"{self.place}/realms/staff"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.free.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rotate(self, kid: str = "") -> None:
        """Another key, which alone is shown from now on."""
        kind, size = {"ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}.get(self.algorithm, ("RSA", 2048))
        self.kid = kid or secrets.token_hex(4)
        # An RSA key takes long to make: the first one is the same for all.
        spare = _first_key() if kind == "RSA" and not self.shown else None
        self.key = spare or jwk.generate_key(kind, size)  # type: ignore[call-overload]
        self.shown = [{**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": self.algorithm}]

    @property
    def settings(self) -> str:
        """Lines for [console.oidc]."""
        lines = (f'issuer = "{self.issuer}"', f'client_id = "{CLIENT}"', 'client_secret_file = "oidc-secret"')
        return "\n".join((*lines, "allow_http = true", ""))

    def browse(self, url: str) -> str:
        """What a browser does at the provider: the address that it is sent back to."""
        query = dict(parse_qsl(urlsplit(url).query))
        return self._authorized(query)

    # -- What it answers ---------------------------------------------------------------------------------------------

    def _serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path, query = urlsplit(request.path).path, dict(parse_qsl(urlsplit(request.path).query))
        what = {
            "/realms/staff/.well-known/openid-configuration": "discovery",
            "/keys": "keys",
            "/token": "token",
            "/userinfo": "userinfo",
            "/authorize": "authorize",
            "/end-session": "end-session",
        }.get(path, "")
        self.asked.append(what)
        how = self.answers.get(what, "")
        headers: dict[str, str] = {"Content-Type": "application/json"}
        status, content = 200, b""
        if how == "hang":
            self.free.wait(30)
        elif how == "redirect":
            status, headers["Location"] = 302, f"{self.place}{path}?again"
        elif how == "huge":
            content = b'{"a": "' + b"a" * 1_000_000 + b'"}'
        elif how == "garbage":
            content = b"<html>It works!</html>"
        elif how.isdigit():
            status, content = int(how), b'{"error": "server_error"}'
        elif what == "discovery":
            content = json.dumps(self._description(how)).encode()
        elif what == "keys":
            content = json.dumps({"keys": [*self.shown, {"kty": "AKP", "kid": "new"}]}).encode()
        elif what == "token":
            status, answer = self._token(request, body)
            content = json.dumps(answer).encode()
        elif what == "userinfo" and request.headers.get("Authorization") == "Bearer access-1":
            content = json.dumps({"sub": self.person["sub"]} | self.told_later).encode()
        elif what == "authorize" and self.by_form and request.command == "GET":
            headers["Content-Type"] = "text/html; charset=utf-8"
            fields = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in query.items())
            content = (
                '<!doctype html><html lang="en"><title>Staff</title><link rel="icon" href="data:,"><main>'
                f'<h1>Staff</h1><form method="post">{fields}<button>It is me</button></form></main></html>'
            ).encode()
        elif what == "authorize":
            status, headers["Location"] = 302, self._authorized(dict(parse_qsl(body.decode())) or query)
        elif what == "end-session":
            self.signed_out.append(query)
            status, headers["Location"] = 302, query["post_logout_redirect_uri"]
        else:
            status = 404
        try:
            request.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content)), "Connection": "close"}).items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(content)
        except OSError:
            pass  # Who asked has gone.

    def _description(self, how: str) -> dict[str, Any]:
        here = self.place
        return {
            "issuer": "https://other.example" if how == "issuer" else self.issuer,
            "authorization_endpoint": f"{here}/authorize?tenant=1",
            "token_endpoint": "http://sso.example/token" if how == "http" else f"{here}/token",
            "jwks_uri": f"{here}/keys",
            "userinfo_endpoint": f"{here}/userinfo",
            "end_session_endpoint": f"{here}/end-session",
            "response_types_supported": ["code"],
            "authorization_response_iss_parameter_supported": self.says_issuer,
        }

    def _authorized(self, query: dict[str, str]) -> str:
        """Where a browser goes back to (RFC 6749 4.1.2)."""
        assert query["redirect_uri"] == f"{self.console}/sign-in/oidc/callback", query
        assert query["client_id"] == CLIENT
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        if self.wrong == "denied":
            answer = {"error": "access_denied", "error_description": "<b>no</b>", "state": query["state"]}
        else:
            code = secrets.token_urlsafe(16)
            self.codes[code] = query
            answer = {"code": code, "state": query["state"]}
        if self.says_issuer:
            answer["iss"] = "https://other.example" if self.wrong == "answer-issuer" else self.issuer
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def _token(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, Any]]:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if self.post:
            shown = (form.get("client_id"), form.get("client_secret"))
        else:
            pair = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            shown = tuple(unquote_plus(one) for one in pair.split(":", 1))  # type: ignore[assignment]
        if shown != (CLIENT, self.secret):
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(form.get("code", ""), None)
        if begun is None or form.get("grant_type") != "authorization_code":
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if begun["code_challenge"] != challenge or form.get("redirect_uri") != begun["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if self.wrong == "list":
            return 200, {"access_token": "access-1", "id_token": ["x"]}
        token = self.id_token(begun["nonce"])
        return 200, {"access_token": "access-1", "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def id_token(self, nonce: str) -> str:
        """An ID token; wrong in the way that is wanted."""
        now, wrong = int(self.clock()), self.wrong
        at_hash = hashlib.sha512 if self.algorithm == "EdDSA" else hashlib.sha256
        digest = at_hash(b"access-1").digest()
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": CLIENT,
            "azp": CLIENT,
            "nonce": nonce,
            "iat": now,
            "exp": now + 300,
            "at_hash": base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode(),
        } | self.person
        claims |= {
            "audience": {"aud": "other"},
            "azp": {"aud": [CLIENT, "other"], "azp": "other"},
            "no-azp": {"aud": [CLIENT, "other"], "azp": None},
            "issuer": {"iss": "https://other.example"},
            "nonce": {"nonce": "x"},
            "expired": {"exp": now - 90},
            "future": {"iat": now + 90},
            "not-yet": {"nbf": now + 90},
            "text-time": {"exp": "9999999999"},
            "no-sub": {"sub": ""},
            "at-hash": {"at_hash": "x"},
        }.get(wrong, {})
        header: dict[str, Any] = {"alg": self.algorithm, "kid": self.kid}
        if wrong == "alg-none":
            return f"{coded({**header, 'alg': 'none'})}.{coded(claims)}."
        if wrong == "unsigned":
            return f"{coded(header)}.{coded(claims)}."
        if wrong == "hs256":
            # The attack: the public key, as everybody can read it, is the password of the signature.
            signed = f"{coded({**header, 'alg': 'HS256'})}.{coded(claims)}"
            mark = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
            return f"{signed}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"
        if wrong == "no-kid":
            del header["kid"]
        if wrong == "unknown-kid":
            header["kid"] = "another"
        if wrong == "crit":
            header |= {"crit": ["exp"], "exp": 1}
        key = _other_key() if wrong == "other-key" else self.key
        if wrong == "crit":
            registry = _Every(header_registry={}, strict_check_header=False)
            registry.check_header = lambda header: None  # type: ignore[method-assign]
        else:
            registry = _Every(strict_check_header=False)
        return jws.serialize_compact(header, json.dumps(claims), key, registry=registry)


@functools.cache
def _first_key() -> Any:
    return jwk.generate_key("RSA", 2048)


@functools.cache
def _other_key() -> Any:
    return jwk.generate_key("RSA", 2048)


def coded(value: dict[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
